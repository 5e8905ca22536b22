"""The gateway with the embedded recogniser, for commands that bring their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from anyio import CancelScope
from anyio.from_thread import start_blocking_portal

from ..gateway import LocalGateway, ServerLimits
from ..gateway.recognizers import PocketsphinxRecognizer, RecognizerError
from .failure import Failure


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
        limits=ServerLimits(sessions=places, sessions_per_key=places),
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(_running(gateway)):
        yield {"base_url": gateway.base_url, "api_key": gateway.api_key, "api_secret": gateway.api_secret}


@asynccontextmanager
async def _running(gateway: LocalGateway) -> AsyncIterator[None]:
    try:
        try:
            await gateway.start()
        except RecognizerError as error:
            raise Failure(str(error)) from None
        except OSError as error:
            raise Failure(f"the local gateway cannot start ({error.strerror}): check the system's limits") from None
        yield
    finally:
        with CancelScope(shield=True):  # also what an interrupted start leaves behind
            await gateway.aclose()
