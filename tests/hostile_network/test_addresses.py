"""Addresses that look like this computer and are another one: no token is made for any of them."""

from __future__ import annotations

from typing import Any

import pytest
from contract import KEY, SECRET
from runtimes import Runtime

from lkstt_proto import InsecureTransport, LocalProtocolError, handshake

OTHERS = [
    "http://gateway.example/v1",
    "ws://192.0.2.1/v1",
    "HTTP://192.0.2.1/v1",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1.",
    "http://localhost.",
    "http://localhost.evil.example",
    "http://evil-localhost",
    "http://0x7f.1",
    "http://0177.0.0.1",
    "http://2130706433",
    "http://127.1",
    "http://0.0.0.0",
    "http://[::]",
    "http://[::ffff:127.0.0.1]",
    "http://[::2]:80",
]
NOWHERE = [
    "http:/127.0.0.1",
    "http:127.0.0.1",
    "http:///127.0.0.1",
    "//127.0.0.1",
    "http://127.0.0.1@evil.example",
    "http://127.0.0.1:80@evil.example",
    "http://127.0.0.1#@evil.example",
    "http://evil.example#@127.0.0.1",
    "http://127.0.0.1\\@evil.example",
    "http:\\\\127.0.0.1",
    "http://127.0.0.1%2eevil.example",
    "http://127.0.0.1%00.evil.example",
    "http://127.0.0.1\t.evil.example",
    "http://127.0.0.1\n.evil.example",
    "ht\ntp://evil.example",
    " http://127.0.0.1",
    "http://127.0.0.1 .evil.example",
    "http://127.0.0.1:0",
    "http://127.0.0.1:80:80",
    "http://127.0.0.1:8_0",
    "http://127.0.0.1:99999",
    "http://[::1]evil.example",
    "http://[::1%25eth0]",
    "http://[::1",
    "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "http://127\u30020\u30020\u30021",
    "http://\uff11\uff12\uff17.0.0.1",
    "http://l\u043ecalhost",
    "file:///v1",
    "ftp://127.0.0.1",
]


@pytest.fixture
def minted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give the list of all tokens made."""
    tokens: list[Any] = []
    mint = handshake.mint_token

    def counting(*arguments: Any) -> str:
        tokens.append(arguments)
        return mint(*arguments)

    monkeypatch.setattr(handshake, "mint_token", counting)
    return tokens


@pytest.mark.parametrize("way", ["argument", "environment", "model string"])
def test_no_token_is_made_for_another_computer_in_plaintext(
    runtime: Runtime, way: str, minted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_API_KEY", KEY)
    monkeypatch.setenv("LIVEKIT_API_SECRET", SECRET)

    def make(url: str) -> Any:
        if way == "argument":
            return runtime.make(base_url=url)
        if way == "model string":
            return runtime.adapter().STT.from_model_string("deepgram/nova-3:en", base_url=url)
        if "\x00" not in url:
            monkeypatch.setenv("LIVEKIT_INFERENCE_URL", url)
        return runtime.make()

    for urls, error in ((OTHERS, InsecureTransport), (NOWHERE, LocalProtocolError)):
        for url in urls:
            with pytest.raises(error) as caught:
                make(url)
            assert type(caught.value) is error, url
            assert not caught.value.retryable
    assert minted == []


def test_an_stt_stays_where_it_is(runtime: Runtime, minted: list[Any]) -> None:
    async def main() -> None:
        async with runtime.make(base_url="http://127.0.0.1:9/v1", api_key=KEY, api_secret=SECRET) as stt:
            before = len(minted)
            with pytest.raises(TypeError):
                stt.update_options(base_url="http://192.0.2.1/v1")
            with pytest.raises(TypeError):
                stt.stream(base_url="http://192.0.2.1/v1")
            stt.update_options(model="deepgram/nova-2", extra={"base_url": "http://192.0.2.1/v1"})
            assert "192.0.2.1" not in repr(stt)
            assert len(minted) == before

    runtime.run(main)


def test_plaintext_leaves_this_computer_only_when_asked_to(runtime: Runtime, minted: list[Any]) -> None:
    for almost in (1, "yes", None):
        with pytest.raises(LocalProtocolError):
            runtime.make(base_url="http://192.0.2.1/v1", api_key=KEY, api_secret=SECRET, allow_insecure=almost)
    assert minted == []
    assert "192.0.2.1" in repr(
        runtime.make(base_url="http://192.0.2.1/v1", api_key=KEY, api_secret=SECRET, allow_insecure=True)
    )
