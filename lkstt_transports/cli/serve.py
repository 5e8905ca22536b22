"""`lkstt serve`: the local gateway, for clients of any kind."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from lkstt_proto import InsecureTransport

from .failure import INTERRUPTED, Failure, emit, interruptible, say

if TYPE_CHECKING:
    from ..gateway import LocalGateway


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port to listen at; 0 takes any."
)
@click.option("--recognizer", type=click.Choice(("pocketsphinx",)), default="pocketsphinx", show_default=True)
@click.option("--workers", type=click.IntRange(1, 64), help="Recogniser processes.  [default: one for each core]")
@click.option("--key", envvar="LKSTT_API_KEY", show_envvar=True, help="API key that clients use.")
@click.option(
    "--secret",
    envvar="LKSTT_API_SECRET",
    show_envvar=True,
    help="Its secret; better in the environment, as others see command lines.",
)
@click.option("--allow-insecure", is_flag=True, help="Listen beyond this computer without TLS.")
@click.pass_context
def serve(
    context: click.Context,
    /,
    host: str,
    port: int,
    recognizer: str,  # noqa: ARG001 (there is one)
    workers: int | None,
    key: str | None,
    secret: str | None,
    *,
    allow_insecure: bool,
) -> None:
    """Run a gateway that speaks LiveKit Inference's protocol and recognises English on this computer.

    Without --key and --secret a pair is made, and printed once. The first line on standard output is the base URL.
    Ctrl-C and SIGTERM let open sessions finish within 10 seconds; a second one stops at once.

    \b
    Examples:
      lkstt serve
      LKSTT_API_KEY=devkey LKSTT_API_SECRET=... lkstt serve --port 8080 --workers 4
    """
    if bool(key) != bool(secret):
        raise click.UsageError("--key and --secret belong together")
    # An event loop and a web server are not for those who ask for --help.
    import asyncio

    from ..gateway import LocalGateway
    from ..gateway.recognizers import PocketsphinxRecognizer

    try:
        gateway = LocalGateway(
            recognizer=PocketsphinxRecognizer(workers=workers),
            host=host,
            port=port,
            secrets={key: secret} if key and secret else None,
            allow_insecure=allow_insecure,
        )
    except InsecureTransport:
        raise Failure(
            f"listening at {host} in plaintext would show tokens and audio to the network: listen at 127.0.0.1 behind "
            "a server with TLS, or add --allow-insecure if that network is trusted"
        ) from None
    with interruptible():
        code = asyncio.run(_serve(gateway, f"{host}:{port}", made=not key))
    context.exit(code)


async def _serve(gateway: LocalGateway, address: str, *, made: bool) -> int:
    """Serve until a signal comes, and give the exit code."""
    import asyncio

    from ..gateway.recognizers import RecognizerError

    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if stopped.done():
            # The workers end when their pipes do.
            os._exit(128 + number)
        stopped.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows: Ctrl-C cancels there
            loop.add_signal_handler(number, stop, number)
    try:
        await gateway.start()
    except RecognizerError as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"cannot listen at {address} ({error.strerror}): choose another --host or --port") from None
    try:
        secret = gateway.api_secret if made else "..."
        arguments = f'model="auto", base_url="{gateway.base_url}", api_key="{gateway.api_key}", api_secret="{secret}"'
        emit(f"{gateway.base_url}\n")
        say("ready; Ctrl-C stops")
        if made:
            say("this key and secret were made for this run: LKSTT_API_KEY and LKSTT_API_SECRET set your own")
        say(f"livekit-agents: inference.STT({arguments})")
        ending = await stopped
        say("stopping: open sessions have 10 s to finish")
    finally:
        await gateway.aclose()
    return INTERRUPTED if ending is signal.SIGINT else 0
