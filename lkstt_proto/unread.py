"""Events that wait for the application (CONTRACT section 2: events wait in the core until wanted).

What grows while nobody reads is bounded: an unread interim gives way to a newer one, and neighbouring dropped
stretches become one. Everything else is kept, and at ``limit`` the owner stops being ``readable``.
"""

from __future__ import annotations

from .events import AudioDropped, Event, SpeechEvent, SpeechEventType

_INTERIM = SpeechEventType.INTERIM_TRANSCRIPT  # to look a member up in its class costs as much as a small call


class Unread(list[Event]):
    """A queue of events; to ask whether it is empty is cheap."""

    __slots__ = ("_dropped", "_interim", "_limit", "full")

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        # Where the newest interim and the newest AudioDropped lie, as long as they may still be replaced.
        self._interim: int | None = None
        self._dropped: int | None = None
        self.full = False
        """Whether the application should read before more comes in."""

    def tell(self, event: Event) -> None:
        """Add an event behind the others."""
        if isinstance(event, SpeechEvent):
            # A turn's events stay in order: nothing replaces an interim from before them.
            self._interim = len(self) if event.type is _INTERIM else None
        self._add(event)

    def interim(self, event: SpeechEvent) -> None:
        """Add an interim, in the place of the unread one if there is one."""
        if self._interim is None:
            self._interim = len(self)
            self.append(event)
            self.full = len(self) >= self._limit
        else:
            self[self._interim] = event

    def dropped(self, start: float, end: float, cause: str) -> None:
        """Tell of dropped audio, joined to the stretch before it."""
        if self._dropped is not None:
            last = self[self._dropped]
            if isinstance(last, AudioDropped) and last.cause == cause and last.end == start:
                self[self._dropped] = AudioDropped(last.start, end, cause)
                return
        self._dropped = len(self)
        self._add(AudioDropped(start, end, cause))

    def take(self) -> list[Event]:
        """Everything so far."""
        events = self[:]
        self.clear()
        self._interim = self._dropped = None
        self.full = False
        return events

    def _add(self, event: Event) -> None:
        self.append(event)
        self.full = len(self) >= self._limit
