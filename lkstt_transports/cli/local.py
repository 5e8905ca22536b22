"""The gateway with the embedded recogniser, for commands that bring their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from ..gateway import LocalGateway, ServerLimits, SessionLimits
from ..gateway.recognizers import PocketsphinxRecognizer, RecognizerError
from .failure import Failure

_SPEED = 10_000.0  # times real time, which is no limit


@contextmanager
def local_gateway(*, workers: int) -> Iterator[dict[str, Any]]:
    """Run a gateway for this process alone, on any free port; give the arguments with which an STT finds it.

    It has a thread and an asyncio loop of its own, whatever its client runs on. Raises `Failure` when the recogniser
    cannot start.
    """
    # A session that ends still has its worker and its place while the next one begins.
    places = 2 * workers
    gateway = LocalGateway(
        recognizer=PocketsphinxRecognizer(workers=workers, limit=places),
        # Nobody else is kept waiting by a client that is fast; what slows it down is the recogniser.
        limits=ServerLimits(sessions=places, sessions_per_key=places, session=SessionLimits(speed=_SPEED)),
    )
    ready: Future[None] = Future()
    over: Future[None] = Future()
    begun = threading.Event()

    def live() -> None:
        begun.wait()
        asyncio.run(_run(gateway, ready, over))

    # Not anyio's portal, which an interrupt at the wrong moment leaves waiting for ever. A thread that was interrupted
    # while it was started, and so is not waited for, does nothing.
    thread = threading.Thread(target=live, name="lkstt-gateway", daemon=True)
    thread.start()
    try:
        begun.set()
        try:
            ready.result()
        except RecognizerError as error:
            raise Failure(str(error)) from None
        except OSError as error:
            raise Failure(f"the local gateway cannot start ({error.strerror}): check the system's limits") from None
        yield {"base_url": gateway.base_url, "api_key": gateway.api_key, "api_secret": gateway.api_secret}
    finally:
        over.set_result(None)
        thread.join()


async def _run(gateway: LocalGateway, ready: Future[None], over: Future[None]) -> None:
    """Have the gateway run until it is over, which may be before it has started."""
    serving = asyncio.create_task(_serve(gateway, ready))
    asyncio.wrap_future(over).add_done_callback(lambda _: serving.cancel())
    with suppress(asyncio.CancelledError):
        await serving


async def _serve(gateway: LocalGateway, ready: Future[None]) -> None:
    try:
        await gateway.start()
    except Exception as error:  # for the thread that waits
        ready.set_exception(error)
        return
    ready.set_result(None)
    try:
        await asyncio.Event().wait()
    finally:
        await gateway.aclose()
