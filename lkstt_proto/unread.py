"""Events that wait for the application (CONTRACT section 2: events wait in the core until wanted).

What grows while nobody reads is bounded: an unread interim gives way to a newer one, and neighbouring dropped
stretches become one. Everything else is kept, and at ``limit`` the owner stops being ``readable``.
"""

from __future__ import annotations

from .events import AudioDropped, Event, SpeechEvent, SpeechEventType

_INTERIM = SpeechEventType.INTERIM_TRANSCRIPT  # to look a member up in its class costs as much as a small call


class Unread:
    """A queue of events."""

    __slots__ = ("_dropped", "_events", "_interim", "_limit", "full")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._events: list[Event] = []
        # Where the newest interim and the newest AudioDropped lie, as long as they may still be replaced.
        self._interim: int | None = None
        self._dropped: int | None = None
        self.full = False
        """Whether the application should read before more comes in."""

    def __len__(self) -> int:
        return len(self._events)

    def append(self, event: Event) -> None:
        """Add an event behind the others."""
        if isinstance(event, SpeechEvent):
            # A turn's events stay in order: nothing replaces an interim from before them.
            self._interim = len(self._events) if event.type is _INTERIM else None
        self._add(event)

    def interim(self, event: SpeechEvent) -> None:
        """Add an interim, in the place of the unread one if there is one."""
        if self._interim is None:
            events = self._events
            self._interim = len(events)
            events.append(event)
            self.full = len(events) >= self._limit
        else:
            self._events[self._interim] = event

    def dropped(self, start: float, end: float, cause: str) -> None:
        """Tell of dropped audio, joined to the stretch before it."""
        if self._dropped is not None:
            last = self._events[self._dropped]
            if isinstance(last, AudioDropped) and last.cause == cause and last.end == start:
                self._events[self._dropped] = AudioDropped(last.start, end, cause)
                return
        self._dropped = len(self._events)
        self._add(AudioDropped(start, end, cause))

    def take(self) -> list[Event]:
        """Everything so far."""
        events, self._events = self._events, []
        self._interim = self._dropped = None
        self.full = False
        return events

    def _add(self, event: Event) -> None:
        self._events.append(event)
        self.full = len(self._events) >= self._limit
