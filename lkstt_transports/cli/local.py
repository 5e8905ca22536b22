"""The gateway with the embedded recogniser, for commands that bring their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..gateway import LocalGateway, ServerLimits
from ..gateway.recognizers import PocketsphinxRecognizer, RecognizerError
from .failure import Failure


@asynccontextmanager
async def local_gateway(*, workers: int) -> AsyncIterator[LocalGateway]:
    """Run a gateway for this process alone, on any free port. Raises `Failure` when the recogniser cannot start."""
    # A session that ends still has its worker and its place while the next one begins.
    places = 2 * workers
    gateway = LocalGateway(
        recognizer=PocketsphinxRecognizer(workers=workers, limit=places),
        limits=ServerLimits(sessions=places, sessions_per_key=places),
    )
    try:
        await gateway.start()
    except RecognizerError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"the local gateway cannot start ({error.strerror}): check the system's limits") from None
    try:
        yield gateway
    finally:
        await gateway.aclose()
