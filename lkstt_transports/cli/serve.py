"""`lkstt serve`: the local gateway, for clients of any kind."""

from __future__ import annotations

import gc
import os
import signal
import ssl
from contextlib import suppress
from pathlib import Path
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
@click.option(
    "--keys", type=click.Path(path_type=Path), help="File with a line `key: secret` for each API key, instead of --key."
)
@click.option(
    "--sessions-per-key",
    type=click.IntRange(1, 64),
    default=8,
    show_default=True,
    help="How many sessions one API key may have; all together have 64.",
)
@click.option(
    "--certificate", type=click.Path(path_type=Path), help="PEM file with the certificate for TLS, and those above it."
)
@click.option(
    "--certificate-key", type=click.Path(path_type=Path), help="PEM file with its private key, if not in the same file."
)
@click.option(
    "--server-name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Host name by which clients know this gateway, besides addresses and localhost. May be repeated.",
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
    keys: Path | None,
    sessions_per_key: int,
    certificate: Path | None,
    certificate_key: Path | None,
    names: tuple[str, ...],
    *,
    allow_insecure: bool,
) -> None:
    """Run a gateway that speaks LiveKit Inference's protocol and recognises English on this computer.

    Without --key and --secret a pair is made, and printed once. The first line on standard output is the base URL.
    Ctrl-C and SIGTERM let open sessions finish within 10 seconds; a second one stops at once.

    Beyond this computer it listens only with a certificate, or --allow-insecure, and with secrets of 32 bytes.

    \b
    Examples:
      lkstt serve
      LKSTT_API_KEY=devkey LKSTT_API_SECRET=... lkstt serve --port 8080 --workers 4
      lkstt serve --host 0.0.0.0 --keys keys.txt --certificate stt.pem --server-name stt.example.com
    """
    if bool(key) != bool(secret):
        raise click.UsageError("--key and --secret belong together")
    if key and keys:
        raise click.UsageError("--keys stands instead of --key and --secret")
    if certificate_key and not certificate:
        raise click.UsageError("--certificate-key needs --certificate")
    secrets = _read_keys(keys) if keys else {key: secret} if key and secret else None
    tls = _tls(certificate, certificate_key) if certificate else None
    # An event loop and a web server are not for those who ask for --help.
    import asyncio

    from ..gateway import LocalGateway, ServerLimits
    from ..gateway.recognizers import PocketsphinxRecognizer

    try:
        gateway = LocalGateway(
            recognizer=PocketsphinxRecognizer(workers=workers),
            host=host,
            port=port,
            secrets=secrets,
            ssl_context=tls,
            allow_insecure=allow_insecure,
            names=names,
            limits=ServerLimits(sessions_per_key=sessions_per_key),
        )
    except InsecureTransport:
        raise Failure(
            f"listening at {host} in plaintext would show tokens and audio to the network: give a --certificate, "
            "listen at 127.0.0.1 behind a server with TLS, or add --allow-insecure if that network is trusted"
        ) from None
    with interruptible():
        code = asyncio.run(_serve(gateway, f"{host}:{port}", made=secrets is None))
    context.exit(code)


def _read_keys(path: Path) -> dict[str, str]:
    """Read API keys with their secrets. Raises `Failure`, which repeats nothing of the file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Failure(f"{path} cannot be read ({error.strerror}): give a file of lines `key: secret`") from None
    except UnicodeDecodeError:
        raise Failure(f"{path} is no text: give a file of lines `key: secret`") from None
    secrets: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, _, secret = (part.strip() for part in line.partition(":"))
        if not key or not secret or key in secrets:
            raise Failure(f"{path}, line {number}: give one `key: secret` for each API key")
        secrets[key] = secret
    if not secrets:
        raise Failure(f"{path} has no API key: give a line `key: secret` for each")
    return secrets


def _tls(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Load a certificate with its private key. Raises `Failure`."""

    def no_password() -> str:
        # Without this OpenSSL would ask on the terminal, of which a service has none.
        raise Failure(
            f"{key or certificate} is encrypted: give a private key without a password, that only you can read"
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for path in (certificate, key or certificate):
        try:
            path.read_bytes()
        except OSError as error:
            raise Failure(f"{path} cannot be read ({error.strerror}): give a PEM file") from None
    try:
        context.load_cert_chain(certificate, key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise Failure(
                f"{key or certificate} is not the private key of {certificate}: give the one made with it"
            ) from None
        raise Failure(
            f"{certificate} with {key or 'the private key in it'} is no certificate: give PEM files, the key with "
            "--certificate-key if it has a file of its own"
        ) from None
    return context


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
    # What was made so far stays as long as the process: nobody has to wait while all of it is looked through again.
    gc.collect()
    gc.freeze()
    try:
        key, secret = (gateway.api_key, gateway.api_secret) if made else ("...", "...")
        arguments = f'model="auto", base_url="{gateway.base_url}", api_key="{key}", api_secret="{secret}"'
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
