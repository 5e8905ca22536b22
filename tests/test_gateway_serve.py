"""`lkstt serve` as a process and with its own files: TLS, API keys, and how it ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from lkstt_transports.cli.app import run

from .test_gateway_server import WAIT, Client, blocks, token

pytest.importorskip("click")

# The command itself, with a recogniser that needs no model.
SERVE = """
import sys
from lkstt_transports.gateway import recognizers
from lkstt_transports.gateway.recognizers.script import EchoRecognizer
recognizers.PocketsphinxRecognizer = lambda **_: EchoRecognizer()
from lkstt_transports.cli.app import run
sys.exit(run(["serve", "--port", "0", *sys.argv[1:]]))
"""
KEYS = [f"APIkey{number}" for number in range(8)]
SECRETS = {key: f"{key}-with-a-secret-of-thirty-two-bytes" for key in KEYS}


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run it; give the process and its base URL."""
    command = [sys.executable, "-c", SERVE, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    guard = threading.Timer(6 * WAIT, process.kill)
    guard.start()
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        guard.cancel()
        process.kill()
        process.communicate()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text("# ours\n\n" + "".join(f"{key}: {secret}\n" for key, secret in SECRETS.items()))
    return path


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A directory with certificates and keys."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issued = authority.issue_cert("127.0.0.1", "stt.test")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    authority.issue_cert("other.test").private_key_pem.write_to_path(str(tmp_path / "other.pem"))
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    (tmp_path / "encrypted.pem").write_bytes(encrypted)
    return tmp_path


def test_sigterm_lets_64_sessions_have_their_finals(keys: Path) -> None:
    async def rest(client: Client) -> tuple[list[str | None], int | None]:
        return [message.get("transcript") for message in await client.rest()], client.socket.close_code

    async def work(process: subprocess.Popen[str], url: str) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

            async def enter(number: int) -> Client:
                key = KEYS[number % len(KEYS)]
                headers = {"Authorization": f"Bearer {token(key, SECRETS[key])}"}
                client = await Client(await http.ws_connect(f"{url}/stt", headers=headers)).started()
                await client.send(*blocks(number, 3))
                assert (await client.next())["type"] == "start_of_speech"
                await client.socket.ping()  # no pong before all of it was heard
                return client

            clients = await asyncio.gather(*(enter(number) for number in range(64)))
            for client in clients:
                await client.socket.ping()
            listening = [asyncio.create_task(rest(client)) for client in clients]
            async with asyncio.timeout(WAIT):
                while (await count(http, url)) < 64 * 0.3 - 0.01:  # noqa: ASYNC110 (a number behind HTTP)
                    await asyncio.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            for number, (texts, code) in enumerate(await asyncio.gather(*listening)):
                assert f"{number} {number + 1} {number + 2}" in texts
                assert code == 1000

    with serving("--keys", str(keys)) as (process, url):
        asyncio.run(work(process, url))
        assert process.wait(WAIT) == 0
        assert process.stderr is not None
        said = process.stderr.read()
        assert not any(secret in said for secret in SECRETS.values())


async def count(http: aiohttp.ClientSession, url: str) -> float:
    async with http.get(url.removesuffix("/v1") + "/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("lkstt_gateway_audio_seconds_total"))


@pytest.mark.parametrize("files", [["both.pem"], ["certificate.pem", "key.pem"]])
def test_it_speaks_tls_with_a_certificate(pem: Path, files: list[str], keys: Path) -> None:
    names = ("--certificate", "--certificate-key")
    options = [part for name, file in zip(names, files, strict=False) for part in (name, str(pem / file))]
    trust = ssl.create_default_context(cafile=str(pem / "ca.pem"))
    with serving("--keys", str(keys), "--server-name", "stt.test", *options) as (process, url):
        assert url.startswith("https://stt.test:")
        port = urlsplit(url).port
        with socket.create_connection(("127.0.0.1", port)) as plain:
            tls = trust.wrap_socket(plain, server_hostname="stt.test")
            tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: stt.test\r\n\r\n")
            assert tls.recv(1000).startswith(b"HTTP/1.1 200 OK")
            tls.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--certificate", "missing.pem"], "missing.pem cannot be read"),
        (["--certificate", "."], ". cannot be read"),
        (["--certificate", "certificate.pem"], "is no certificate: give PEM files"),
        (["--certificate", "certificate.pem", "--certificate-key", "missing.pem"], "missing.pem cannot be read"),
        (["--certificate", "certificate.pem", "--certificate-key", "other.pem"], "other.pem is not the private key of"),
        (["--certificate", "certificate.pem", "--certificate-key", "encrypted.pem"], "encrypted.pem is encrypted"),
        (["--host", "::", "--keys", "short.txt", "--certificate", "both.pem"], "secrets of at least 32 bytes"),
        (["--keys", "missing.txt"], "missing.txt cannot be read"),
        (["--keys", "binary.txt"], "binary.txt is no text"),
        (["--keys", "empty.txt"], "empty.txt has no API key"),
        (["--keys", "bad.txt"], "bad.txt, line 2: give one `key: secret`"),
        (["--keys", "twice.txt"], "twice.txt, line 2"),
        (["--server-name", "https://stt.test"], "a host name has letters"),
    ],
)
def test_what_it_cannot_use_it_names_with_a_cure(
    arguments: list[str], words: str, pem: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (pem / "short.txt").write_text("key: short\n")
    (pem / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (pem / "empty.txt").write_text("# nobody\n")
    (pem / "bad.txt").write_text("key: secret\nhorse-battery\n")
    (pem / "twice.txt").write_text("key: secret\nkey: secret\n")
    monkeypatch.chdir(pem)
    assert run(["serve", "--port", "0", *arguments]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert "horse-battery" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--certificate-key", "key.pem"], "--certificate-key needs --certificate"),
        (["--keys", "keys.txt", "--key", "a", "--secret", "b"], "--keys stands instead of --key and --secret"),
        (["--sessions-per-key", "65"], "'--sessions-per-key'"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *arguments]) == 2
    assert words in capfd.readouterr().err


def test_one_key_may_have_more_sessions_when_it_is_told_so(keys: Path) -> None:
    async def work(url: str) -> None:
        headers = {"Authorization": f"Bearer {token(KEYS[0], SECRETS[KEYS[0]])}"}
        async with aiohttp.ClientSession() as http:
            held = [await http.ws_connect(f"{url}/stt", headers=headers) for _ in range(10)]
            with pytest.raises(aiohttp.WSServerHandshakeError, match="429"):
                await http.ws_connect(f"{url}/stt", headers=headers)
            assert not any(client.closed for client in held)

    with serving("--keys", str(keys), "--sessions-per-key", "10") as (_, url):
        asyncio.run(work(url))
