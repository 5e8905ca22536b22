"""The anyio adapter: the contract on both backends, and asyncio's own manner to cancel."""

from __future__ import annotations

from contract import AsyncContract, CancelContract, NurseryContract, StreamContract
from runtimes import AnyioCancelledByAsyncio, AnyioOnAsyncio, AnyioOnTrio


class TestAnyioOnAsyncio(AnyioOnAsyncio, StreamContract, AsyncContract, CancelContract, NurseryContract):
    pass


class TestAnyioOnTrio(AnyioOnTrio, StreamContract, AsyncContract, CancelContract, NurseryContract):
    pass


class TestAnyioCancelledByAsyncio(AnyioCancelledByAsyncio, CancelContract):
    pass
