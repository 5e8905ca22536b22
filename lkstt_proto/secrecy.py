"""Values that do not show themselves, and exceptions that do not show the values they were raised beside.

Credentials live in a `Secret`. What is called with secrets, or with what was said, is `discreet`: its exceptions leave
without the frames in which the values stood, because tools that report errors print the locals of every frame.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NoReturn, ParamSpec, SupportsIndex, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Values.


class Secret:
    """A text that never shows itself: printed it is `***`; `reveal` gives the value.

    Equal by value, false when empty. Copies share the object; pickling raises TypeError.
    """

    __slots__ = ("_read",)

    def __init__(self, value: str) -> None:
        # Within a function, where what walks through attributes does not look.
        self._read: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """Give the value; keep it out of logs and messages."""
        return self._read()

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return format("***", spec)

    def __bool__(self) -> bool:
        return bool(self._read())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._read() == other._read()

    def __hash__(self) -> int:
        return hash(self._read())

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Secret is not pickled: let the other process read the credentials from its own environment")


class Hidden(str):
    """A text like any other, for those who use it, and `***` for those who only look: its repr is that of a secret.

    For what libraries want as plain text, such as the value of a header.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


# Exceptions.

_OURS = ("lkstt_proto", "lkstt_transports")


def discreet(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function raise without the frames of this project, whose locals may be secrets.

    Frames of others that it called, an application's endpointer for example, stay.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            failure = bare(error)
        del args, kwargs  # the locals of this frame, which does show
        try:
            raise failure
        finally:
            del failure  # it would hold itself, through its traceback

    return call


def bare(error: BaseException) -> BaseException:
    """Take the frames of this project, and what they were handling, off an exception; give it back."""
    trace = error.__traceback__
    frames = trace
    while frames is not None:
        if str(frames.tb_frame.f_globals.get("__name__")).partition(".")[0] in _OURS:
            trace = frames.tb_next
        frames = frames.tb_next
    if trace is None:  # raised here, because of something that may show what it was given
        error.__context__ = None
    return error.with_traceback(trace)
