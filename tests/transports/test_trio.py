"""The trio adapter: the contract."""

from __future__ import annotations

from contract import AsyncContract, CancelContract, NurseryContract, StreamContract
from runtimes import Trio


class TestTrio(Trio, StreamContract, AsyncContract, CancelContract, NurseryContract):
    pass
