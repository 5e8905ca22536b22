"""Values do not show themselves, and exceptions do not show what they were raised beside."""

from __future__ import annotations

import copy
import inspect
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from lkstt_proto.secrecy import Hidden, Secret, bare, discreet

VALUE = "hunter2"


def test_a_secret_never_shows_itself() -> None:
    secret = Secret(VALUE)
    assert (repr(secret), str(secret), f"{secret}", f"{secret!r}", f"{secret:>5}") == (
        "***",
        "***",
        "***",
        "***",
        "  ***",
    )
    assert secret.reveal() == VALUE
    shown = [repr({"k": [secret]}), *(repr(getattr(secret, name)) for name in dir(secret))]
    assert not any(VALUE in text for text in shown)
    assert not hasattr(secret, "__dict__")


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert hash(Secret("\u00fc\ud800")) == hash(Secret("\u00fc\ud800"))
    assert Secret("a")
    assert not Secret("")


def test_secrets_are_shared_by_copies_and_refuse_pickling() -> None:
    secret = Secret(VALUE)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="environment"):
            pickle.dumps(secret, protocol)


def test_a_hidden_text_is_one_that_only_its_repr_hides() -> None:
    hidden = Hidden(VALUE)
    assert isinstance(hidden, str)
    assert hidden == VALUE
    assert f"{hidden}" == VALUE
    assert repr(hidden) == "***"
    assert VALUE not in repr({"Authorization": [hidden]})
    assert {hidden: 1}[VALUE] == 1


# Exceptions. This module stands for an application: its frames are not ours, and stay.


def ours(source: str, **names: Any) -> Any:
    """A function ``f`` as if it was a part of this project."""
    scope = {"__name__": "lkstt_proto.somewhere", **names}
    exec(source, scope)  # noqa: S102 (written below)
    return scope["f"]


def frames(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def locals_of(error: BaseException) -> str:
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(repr(frame.locals) for frame in shown.stack)


def caught(function: Callable[..., Any], *values: str) -> BaseException:
    try:
        function(*values)
    except Exception as error:
        del values
        return error
    raise AssertionError("nothing was raised")


def test_a_discreet_function_is_otherwise_like_it_was() -> None:
    def add(one: int, *, two: int = 2) -> int:
        """Add."""
        return one + two

    call = discreet(add)
    assert (call(1), call(1, two=3)) == (3, 4)
    assert (call.__name__, call.__doc__) == ("add", "Add.")
    assert inspect.signature(call) == inspect.signature(add)


def test_what_a_discreet_function_raises_shows_no_frame_of_ours_nor_what_it_handled() -> None:
    source = (
        "def f(value):\n    try:\n        int(value)\n    except ValueError:\n        raise KeyError('k') from None"
    )
    error = caught(discreet(ours(source)), VALUE)
    assert repr(error) == "KeyError('k')"
    assert error.__context__ is None
    assert frames(error) == ["caught", "call"]
    assert VALUE not in locals_of(error)


def test_frames_of_others_that_were_called_stay() -> None:
    def broken() -> None:
        raise ZeroDivisionError

    error = caught(discreet(ours("def f(value):\n    call()", call=broken)), VALUE)
    assert frames(error) == ["caught", "call", "broken"]
    assert VALUE not in locals_of(error)


def test_what_an_application_handled_stays_with_what_it_raises() -> None:
    def broken() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    error = caught(discreet(ours("def f(value):\n    call()", call=broken)), VALUE)
    assert repr(error.__cause__) == repr(error.__context__) == "KeyError('first')"


def test_arguments_that_do_not_fit_do_not_show() -> None:
    error = caught(discreet(ours("def f():\n    pass")), VALUE)
    assert isinstance(error, TypeError)
    assert VALUE not in locals_of(error)


def test_interrupts_leave_as_quietly() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        discreet(ours("def f(value):\n    call()", call=interrupt))(VALUE)
    assert "'f'" not in repr(frames(raised.value))


def test_an_exception_that_was_never_raised_is_bare_already() -> None:
    error = ValueError("a")
    assert bare(error) is error
    assert error.__traceback__ is None
