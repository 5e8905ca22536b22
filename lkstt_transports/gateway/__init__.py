"""A gateway on this computer, for tests and for speech recognition without a network (CONTRACT 6)."""

from __future__ import annotations

from .server import LocalGateway, ServerLimits
from .session import SessionLimits

__all__ = ["LocalGateway", "ServerLimits", "SessionLimits"]
