"""A gateway on this computer, for tests and for speech recognition without a network (CONTRACT 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import LocalGateway, ServerLimits
    from .session import SessionLimits

__all__ = ["LocalGateway", "ServerLimits", "SessionLimits"]


def __getattr__(name: str) -> Any:
    # Worker processes import their recogniser from this package, and have no use for a web server.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import server, session

    return getattr(session if name == "SessionLimits" else server, name)
