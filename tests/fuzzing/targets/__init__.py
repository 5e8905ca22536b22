"""The targets, by name."""

from __future__ import annotations

from . import connection, fixture, frames, gateway, receive_text, token, wav, wide

TARGETS = {
    module.TARGET.name: module.TARGET
    for module in (receive_text, gateway, token, fixture, wav, connection, wide, frames)
}
