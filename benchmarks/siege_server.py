"""The gateway that ``siege.py`` besieges: a process of its own, as `lkstt serve` would be, with many API keys.

Writes its URL on standard output, and serves until SIGTERM; then it exits with code 0 once its sessions have ended.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from lkstt_transports.cli.serving import stop_signals
from lkstt_transports.gateway import LocalGateway, ServerLimits
from lkstt_transports.gateway.recognizers import PocketsphinxRecognizer
from lkstt_transports.gateway.recognizers.base import Recognizer
from lkstt_transports.gateway.recognizers.script import EchoRecognizer


async def serve(recognizer: Recognizer, keys: list[str], secret: str, sessions: int) -> None:
    """Serve until a signal comes."""
    limits = ServerLimits(sessions=sessions)
    with stop_signals() as stopped:
        async with LocalGateway(recognizer=recognizer, secrets=dict.fromkeys(keys, secret), limits=limits) as gateway:
            print(gateway.base_url, flush=True)
            await stopped


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("recognizer", choices=("echo", "pocketsphinx"))
    parser.add_argument("sessions", type=int)
    parser.add_argument("keys", nargs="+")
    arguments = parser.parse_args()
    recognizer: Recognizer = EchoRecognizer()
    if arguments.recognizer == "pocketsphinx":
        recognizer = PocketsphinxRecognizer()
    asyncio.run(serve(recognizer, arguments.keys, os.environ["SIEGE_SECRET"], arguments.sessions))
    return 0


if __name__ == "__main__":
    sys.exit(main())
