"""Forged, malformed and misspelt tokens: one answer for all of them, whatever is wrong, and whoever is known."""

from __future__ import annotations

import asyncio
import base64
import gc
import hmac
import json
import re
import sys
import time
from types import FrameType
from typing import Any

import pytest

from lkstt_proto.errors import AuthError
from lkstt_proto.handshake import mint_token, verify_token
from lkstt_proto.secrecy import Secret
from lkstt_transports.gateway import LocalGateway
from lkstt_transports.gateway.recognizers.script import EchoRecognizer

KEY, SECRET = "APItester", "a-secret-of-at-least-thirty-two-bytes"
OTHER_KEY, OTHER_SECRET = "APIother", "another-secret-of-at-least-32-bytes!"
SECRETS = {KEY: Secret(SECRET), OTHER_KEY: Secret(OTHER_SECRET)}
HEADER = {"alg": "HS256", "typ": "JWT"}
NOW = 1_800_000_000
PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
ALGORITHMS = ("none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS256\0", "RS256", "PS256", "ES256", "EdDSA")
NO_TIMES = ("NaN", "Infinity", "-Infinity", "1e999", "null", "true", "[]", "{}", '""', "-1", "9" * 400, "1e300")
WAIT = 10.0  # nothing here takes so long unless it is broken

STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def part(value: object) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def claims(now: float, **changes: Any) -> dict[str, Any]:
    said = {"iss": KEY, "sub": "agent", "nbf": now - 10, "exp": now + 600, "inference": {"perform": True}}
    return {name: value for name, value in (said | changes).items() if value is not ...}


def signature(signed: bytes, secret: str = SECRET, digest: str = "sha256") -> bytes:
    return part(hmac.digest(secret.encode(), signed, digest))


def token(payload: object, header: object = HEADER, secret: str = SECRET, digest: str = "sha256") -> bytes:
    """Sign anything by hand, also what no library would."""
    signed = part(header) + b"." + part(payload)
    return signed + b"." + signature(signed, secret, digest)


def respelt(text: bytes) -> bytes:
    """The same bytes in base64 once more: bits that belong to nothing are set in the last character."""
    position = STANDARD.index(text[-1])
    unused = {2: 15, 3: 3}[len(text) % 4]
    return text[:-1] + STANDARD[position | unused : (position | unused) + 1]


def signed(first: bytes, second: bytes, secret: str = SECRET) -> bytes:
    return first + b"." + second + b"." + signature(first + b"." + second, secret)


def of_a_length(short_of: int) -> bytes:
    """The payload with which a token has 8 KiB less so many characters; a multiple of four of them is possible."""
    plain = len(token(claims(NOW, pad="")))
    return json.dumps(claims(NOW, pad="x" * ((8192 - short_of - plain) * 3 // 4))).encode()


def doubled(name: str, first: object, second: object, inside: dict[str, Any]) -> bytes:
    rest = {key: value for key, value in inside.items() if key != name}
    return (
        json.dumps({"": 0, **rest})
        .replace('"": 0', f'"{name}":{json.dumps(first)},"{name}":{json.dumps(second)}')
        .encode()
    )


def forgeries(now: float) -> dict[str, Any]:
    """Tokens that must be refused, by what is wrong with them."""
    good = token(claims(now))
    head, body, tail = good.split(b".")
    other = token(claims(now, iss=OTHER_KEY), secret=OTHER_SECRET)
    raw = json.dumps(claims(now)).encode()
    slashed = token(claims(now, pad="~~~~???>>>"))
    odd = token(raw + b" " * (-len(raw) % 3 + 1))  # whose payload does not fill its last character
    odd_head, odd_body, _ = odd.split(b".")

    def with_header(**changes: Any) -> bytes:
        return token(claims(now), {**HEADER, **changes})

    def with_claims(**changes: Any) -> bytes:
        return token(claims(now, **changes))

    def with_json(fragment: str, **changes: Any) -> bytes:
        return token(json.dumps(claims(now, **changes)).replace('"?"', fragment).encode())

    return {
        # Algorithms.
        **{
            f"alg {name!r}": token(claims(now), {"alg": name, "typ": "JWT"})
            for name in ALGORITHMS
        },
        **{
            f"alg {name} unsigned": part({"alg": name, "typ": "JWT"}) + b"." + body + b"."
            for name in ("none", "None", "nOnE", "HS256")
        },
        "alg HS384": token(claims(now), {"alg": "HS384", "typ": "JWT"}, digest="sha384"),
        "alg HS512": token(claims(now), {"alg": "HS512", "typ": "JWT"}, digest="sha512"),
        "alg HS384 with a signature of HS256": token(claims(now), {"alg": "HS384"}),
        "alg a list": with_header(alg=["HS256"]),
        "alg an object": with_header(alg={"HS256": 1}),
        "alg null": with_header(alg=None),
        "alg true": with_header(alg=True),
        "alg missing": token(claims(now), {"typ": "JWT"}),
        "alg twice": token(claims(now), doubled("alg", "none", "HS256", HEADER)),
        "alg twice the other way": token(claims(now), doubled("alg", "HS256", "none", HEADER)),
        "Alg instead of alg": token(claims(now), {"Alg": "HS256"}),
        # Other members of the header.
        "crit": with_header(crit=["exp"]),
        "crit empty": with_header(crit=[]),
        "crit null": with_header(crit=None),
        "crit of b64": token(claims(now), {**HEADER, "b64": True, "crit": ["b64"]}),
        "b64 false": signed(part({**HEADER, "b64": False, "crit": ["b64"]}), body),
        "b64 false without crit": with_header(b64=False),
        "payload not encoded": signed(part({**HEADER, "b64": False}), raw),
        "zip": with_header(zip="DEF"),
        "jku": with_header(jku="https://attacker.example/keys"),
        "jwk": with_header(jwk={"kty": "oct", "k": base64.urlsafe_b64encode(b"mine").decode()}),
        "jwk that signed it": token(claims(now), {**HEADER, "jwk": {"kty": "oct", "k": "bWluZQ"}}, "mine"),
        "x5u": with_header(x5u="https://attacker.example/cert"),
        "x5c": with_header(x5c=["MIIB"]),
        "kid no text": with_header(kid=1),
        "kid a path, signed with nothing": token(claims(now), {**HEADER, "kid": "/dev/null"}, ""),
        "typ another": with_header(typ="JWE"),
        "typ no text": with_header(typ=["JWT"]),
        "typ null": with_header(typ=None),
        "cty a token in a token": with_header(cty="JWT"),
        "enc": with_header(enc="A128GCM"),
        "header a list": token(claims(now), [HEADER]),
        "header a text": token(claims(now), "HS256"),
        "header no JSON": token(claims(now), b"alg=HS256"),
        "header no UTF-8": token(claims(now), b'{"alg":"HS256","typ":"\xff"}'),
        "header in UTF-16": token(claims(now), json.dumps(HEADER).encode("utf-16")),
        "header behind a byte order mark": token(claims(now), b"\xef\xbb\xbf" + json.dumps(HEADER).encode()),
        "header nested without end": token(claims(now), b'{"alg":"HS256","kid":' + b"[" * 2900),
        "header of one object more": token(claims(now), json.dumps(HEADER).encode() * 2),
        # Signatures.
        "wrong secret": token(claims(now), secret="guess"),
        "secret of another key": token(claims(now), secret=OTHER_SECRET),
        "other key with this secret": token(claims(now, iss=OTHER_KEY)),
        "empty secret": token(claims(now), secret=""),
        "key instead of secret": token(claims(now), secret=KEY),
        "public key as secret": token(claims(now), secret=PUBLIC_KEY),
        "unknown key": token(claims(now, iss="APInobody")),
        "unknown key and empty secret": token(claims(now, iss="APInobody"), secret=""),
        "signature of another token": head + b"." + body + b"." + other.split(b".")[2],
        "payload of another token": head + b"." + other.split(b".")[1] + b"." + tail,
        "payload changed": head + b"." + part(claims(now, exp=now + 601)) + b"." + tail,
        "header changed": part({"alg": "HS256"}) + b"." + body + b"." + tail,
        "signature shorter by a character": good[:-1],
        "signature shorter by 16 bytes": head + b"." + body + b"." + tail[:22],
        "signature longer by a character": good + b"A",
        "signature longer by a byte": head + b"." + body + b"." + part(base64.urlsafe_b64decode(tail + b"=") + b"\0"),
        "signature twice": good + tail,
        "signature missing": head + b"." + body + b".",
        "signature of zeros": head + b"." + body + b"." + part(bytes(32)),
        "signature in hexadecimal": head + b"." + body + b"." + base64.urlsafe_b64decode(tail + b"=").hex().encode(),
        "signature in capitals": head + b"." + body + b"." + tail.upper(),
        "signed without the dot": head + b"." + body + b"." + signature(head + body),
        # Parts.
        "empty": b"",
        "dots": b"..",
        "two parts": head + b"." + body,
        "four parts": good + b"." + tail,
        "a second signature behind it": good + b"." + signature(good),
        "five parts, as if encrypted": head + b".." + body + b"." + tail + b"." + tail,
        "header empty": signed(b"", body),
        "payload detached": head + b".." + tail,
        "payload detached and signed": signed(head, b""),
        "two tokens": good + good,
        "two tokens with a comma": good + b"," + other,
        "JSON instead of parts": json.dumps({"payload": body.decode(), "protected": head.decode()}).encode(),
        # Spelling: one token, one way to write it.
        "padding": good + b"=",
        "padding within": head + b"=." + body + b"." + tail,
        "signed padding": signed(head, part(raw + b" " * (-len(raw) % 3 + 2)) + b"="),
        "standard alphabet": slashed.translate(bytes.maketrans(b"-_", b"+/")) + b"/",
        "standard alphabet, signed": signed(head, part(raw) + b"/+++"),
        "bits left over in the signature": head + b"." + body + b"." + respelt(tail),
        "bits left over in the payload": odd_head + b"." + respelt(odd_body) + b"." + odd.split(b".")[2],
        "bits left over in the payload, signed": signed(odd_head, respelt(odd_body)),
        "one character too many, signed": signed(head, body + b"A" * (-(len(body) - 1) % 4 or 4)),
        "line end behind it": good + b"\n",
        "line end before it": b"\n" + good,
        "line ends within": b".\n".join(good.split(b".")),
        "a space within": head + b". " + body + b"." + tail,
        "NUL behind it": good + b"\0",
        "NUL within": head + b".\0" + body + b"." + tail,
        "percent-encoded dots": good.replace(b".", b"%2E"),
        "quotes": b'"' + good + b'"',
        "the scheme twice": b"Bearer " + good,
        "a letter that is no ASCII": good + "\u00e9".encode(),
        "an invisible letter": head + "\u200b".encode() + b"." + body + b"." + tail,
        "wide letters": good.decode().replace("e", "\uff45").encode(),
        "no UTF-8": good + b"\xff",
        # Length.
        "8 KiB and a little": token(of_a_length(-4)),
        "a mebibyte": token(claims(now, pad="x" * 2**20)),
        "a mebibyte of dots": b"." * 2**20,
        # Times.
        **{
            f"{name} {text}": with_json(text, **{name: "?"})
            for name in ("exp", "nbf")
            for text in NO_TIMES
        },
        "exp a text": with_claims(exp=str(now + 600)),
        "exp missing": with_claims(exp=...),
        "exp passed": with_claims(nbf=now - 600, exp=now - 61),
        "exp before nbf": with_claims(exp=now - 11),
        "exp equal to nbf": with_claims(exp=now - 10),
        "exp twice": token(doubled("exp", now + 600, now + 601, claims(now))),
        "nbf a text": with_claims(nbf=str(now)),
        "nbf missing": with_claims(nbf=...),
        "nbf far ahead": with_claims(nbf=now + 120),
        "more than a day": with_claims(nbf=now, exp=now + 24 * 3600 + 1),
        "more than a day by a fraction": with_claims(nbf=now, exp=now + 24 * 3600 + 0.5),
        "since 1970": with_claims(nbf=0),
        "iat far ahead": with_claims(iat=now + 120),
        "iat a text": with_claims(iat="now"),
        "iat null": with_claims(iat=None),
        # Names.
        "iss missing": with_claims(iss=...),
        "iss null": with_claims(iss=None),
        "iss empty": with_claims(iss=""),
        "iss a list": with_claims(iss=[KEY]),
        "iss a number": with_claims(iss=1),
        "iss an object": with_claims(iss={KEY: KEY}),
        "iss long": with_claims(iss="A" * 4000),
        "iss with a space": with_claims(iss=KEY + " "),
        "iss in capitals": with_claims(iss=KEY.upper()),
        "iss with a lone surrogate": with_claims(iss=KEY + "\ud800"),
        "iss twice": token(doubled("iss", "APInobody", KEY, claims(now))),
        "iss twice, once escaped": token(raw[:-1] + b',"\\u0069ss":' + json.dumps(KEY).encode() + b"}"),
        "sub a number": with_claims(sub=1),
        "sub null": with_claims(sub=None),
        "sub a list": with_claims(sub=["agent"]),
        "aud": with_claims(aud="somebody"),
        "aud null": with_claims(aud=None),
        # What it allows.
        **{
            f"inference {value!r}": with_claims(inference=value)
            for value in (..., None, True, 1, "perform", [], ["perform"], {}, {"Perform": True}, [{"perform": True}])
        },
        **{
            f"perform {value!r}": with_claims(inference={"perform": value})
            for value in (None, False, 0, 1, 1.0, "true", "True", [True], {"perform": True})
        },
        "perform twice": token(raw.replace(b'"perform": true', b'"perform": false, "perform": true')),
        "perform beside inference": with_claims(inference=..., perform=True),
        "a grant for rooms instead": with_claims(inference=..., video={"roomJoin": True}),
        # Payloads.
        "payload a list": token([claims(now)]),
        "payload a text": token("claims"),
        "payload null": token(None),
        "payload no JSON": token(b"iss=" + KEY.encode()),
        "payload no UTF-8": token(raw.replace(b"agent", b"\xff")),
        "payload in UTF-16": token(raw.decode().encode("utf-16")),
        "payload of two objects": token(raw + raw),
        "payload nested without end": token(raw[:-1] + b',"pad":' + b"[" * 3000),
        "payload nested, and closed": token(raw[:-1] + b',"pad":' + b"[" * 2500 + b"]" * 2500 + b"}"),
        "payload nested a little too deep": token(raw[:-1] + b',"pad":' + b"[" * 256 + b"]" * 256 + b"}"),
        "NaN beside it": with_json("NaN", pad="?"),
        "a number of 4,400 digits beside it": with_json("9" * 4400, pad="?"),
    }  # fmt: skip


FORGED = forgeries(NOW)


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_forged_or_misspelt_token_is_refused_in_the_same_words(forged: bytes) -> None:
    spellings: list[Any] = [forged, forged.decode("latin-1")]
    for spelling in spellings:
        with pytest.raises(AuthError) as caught:
            verify_token(spelling, SECRETS, NOW)
        error = caught.value
        assert str(error) == "the token is not valid: check API key and secret, and the clocks of both computers"
        assert (error.http_status, error.phase, error.retryable) == (401, "connect", False)
        assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("thing", [None, 1, [], bytearray(b"a.b.c"), memoryview(b"a.b.c"), {}, "\ud800.\ud800.\ud800"])
def test_what_is_no_text_is_no_token(thing: Any) -> None:
    with pytest.raises(AuthError):
        verify_token(thing, SECRETS, NOW)


ACCEPTED = {
    "as Python's client signs it": token(claims(NOW)),
    "as JavaScript's client signs it": token(claims(NOW), {"alg": "HS256"}),
    "members in another order, and spaces": token(
        b' {"inference" : {"perform":true}, "exp":1800000600,"nbf":1800000000, "iss":"APItester"}\n'
    ),
    "more claims": token(claims(NOW, iat=NOW, jti="x", video={"roomJoin": True}, inference={"perform": True, "x": 1})),
    "typ in small letters": token(claims(NOW), {"alg": "HS256", "typ": "jwt"}),
    "the name of a key": token(claims(NOW), {**HEADER, "kid": "1"}),
    "fractions of seconds": token(claims(NOW, nbf=NOW - 0.5, exp=NOW + 1.5)),
    "without sub": token(claims(NOW, sub=...)),
    "nearly 8 KiB": token(of_a_length(8)),
    "nested as deep as may be": token(
        json.dumps(claims(NOW)).encode()[:-1] + b',"pad":' + b"[" * 255 + b"]" * 255 + b"}"
    ),
    "just a day": token(claims(NOW, nbf=NOW, exp=NOW + 24 * 3600)),
}  # fmt: skip


@pytest.mark.parametrize("good", ACCEPTED.values(), ids=ACCEPTED)
def test_a_token_within_the_rules_is_accepted_as_often_as_it_comes(good: bytes) -> None:
    assert len(good) <= 8192
    for spelling in (good, good.decode(), good):
        assert verify_token(spelling, SECRETS, NOW).issuer == KEY


def test_the_leeway_is_sixty_seconds_to_the_edge() -> None:
    good = token(claims(NOW, nbf=NOW, exp=NOW + 600))
    edges = {NOW - 60: True, NOW - 60.001: False, NOW + 659.999: True, NOW + 660: False}
    early = token(claims(NOW, iat=NOW + 100))
    for at, expected in edges.items():
        if expected:
            assert verify_token(good, SECRETS, at).issuer == KEY
        else:
            with pytest.raises(AuthError):
                verify_token(good, SECRETS, at)
    assert verify_token(early, SECRETS, NOW + 40).issuer == KEY
    with pytest.raises(AuthError):
        verify_token(early, SECRETS, NOW + 39.999)


def test_each_key_has_its_own_secret() -> None:
    for key, secret in ((KEY, SECRET), (OTHER_KEY, OTHER_SECRET)):
        assert verify_token(mint_token(key, secret, NOW), SECRETS, NOW).issuer == key


def work(forged: bytes) -> list[tuple[str, str, int]]:
    """Every function called, and every line run, in order: what a clock would have to tell apart."""
    done: list[tuple[str, str, int]] = []

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_globals["__name__"] != __name__:
            done.append((frame.f_code.co_name, event, frame.f_lineno))
        return trace

    before = sys.gettrace()
    gc.disable()  # a collection runs callbacks of others, whenever it likes
    sys.settrace(trace)
    try:
        verify_token(forged, SECRETS, NOW)
    except AuthError:
        return done
    finally:
        sys.settrace(before)
        gc.enable()
    raise AssertionError("it was accepted")


@pytest.mark.parametrize("issuer", [OTHER_KEY, "APInobod", "A" * 8])
def test_a_known_key_costs_exactly_as_much_work_as_an_unknown_one(issuer: str) -> None:
    guess = token(claims(NOW, iss=OTHER_KEY), secret="a guess")
    verify_token(mint_token(KEY, SECRET, NOW), SECRETS, NOW)  # imports
    expected = work(guess)
    assert [name for name, event, _ in expected if event == "call"].count("sign") == 1
    forged = token(claims(NOW, iss=issuer), secret="a guess")
    assert len(forged) == len(guess)
    assert work(forged) == expected


def test_the_words_that_stand_for_unknown_secrets_sign_nothing() -> None:
    from lkstt_proto import handshake

    nobody = handshake._NOBODY.reveal()
    for secrets in (SECRETS, {**SECRETS, "APInobody": Secret("")}, {}):
        with pytest.raises(AuthError):
            verify_token(token(claims(NOW, iss="APInobody"), secret=nobody), secrets, NOW)


# Over the gateway's own socket.


async def upgrade(port: int, *headers: bytes, target: bytes = b"/v1/stt") -> tuple[bytes, dict[bytes, bytes], bytes]:
    """Ask for a WebSocket as no library would; give the status line, the headers and the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [
        b"GET " + target + b" HTTP/1.1",
        b"Host: 127.0.0.1",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    ]
    writer.write(b"\r\n".join((*lines, b"", b"")))
    async with asyncio.timeout(WAIT):
        head = await reader.readuntil(b"\r\n\r\n")
        status, *fields = head[:-4].split(b"\r\n")
        named = dict(field.split(b": ", 1) for field in fields)
        body = await reader.readexactly(int(named.get(b"Content-Length", b"0")))
    writer.transport.abort()
    return status, named, body


def of_http(value: bytes) -> bool:
    """Whether a header can hold it at all; what cannot is no HTTP, and refused before anybody looks for a token."""
    return len(value) <= 7000 and not re.search(rb"[\0\r\n]", value)


async def ask_all(port: int, requests: dict[str, tuple[list[bytes], bytes]]) -> dict[str, tuple[Any, ...]]:
    answers = {}
    for name, (headers, target) in requests.items():
        status, named, body = await upgrade(port, *headers, target=target)
        answers[name] = (status, tuple(item for item in named.items() if item[0] != b"Date"), body)
    return answers


def test_the_gateway_answers_every_refused_token_with_the_same_bytes() -> None:
    async def go() -> dict[str, tuple[Any, ...]]:
        async with LocalGateway(recognizer=EchoRecognizer(), secrets={KEY: SECRET, OTHER_KEY: OTHER_SECRET}) as gateway:
            port = int(gateway.base_url.rpartition(":")[2].partition("/")[0])
            now = int(time.time())
            good = token(claims(now))
            requests: dict[str, tuple[list[bytes], bytes]] = {
                name: ([b"Authorization: Bearer " + forged], b"/v1/stt")
                for name, forged in forgeries(now).items()
                if of_http(forged)
            }
            plain = b"/v1/stt"
            query = b"/v1/stt?access_token=" + good + b"&token=" + good + b"&authorization=Bearer%20" + good
            requests |= {
                "no header": ([], plain),
                "an empty header": ([b"Authorization: "], plain),
                "two headers": ([b"Authorization: Bearer " + good] * 2, plain),
                "a bad header and a good one": ([b"Authorization: Bearer x", b"Authorization: Bearer " + good], plain),
                "another scheme": ([b"Authorization: Basic " + good], plain),
                "no scheme": ([b"Authorization: " + good], plain),
                "a scheme alone": ([b"Authorization: Bearer"], plain),
                "a scheme without a space": ([b"Authorization: Bearer" + good], plain),
                "a tab": ([b"Authorization: Bearer\t" + good], plain),
                "a space and a tab": ([b"Authorization: Bearer \t" + good], plain),
                "a colon": ([b"Authorization: Bearer: " + good], plain),
                "words behind it": ([b"Authorization: Bearer " + good + b" more"], plain),
                "a name for it": ([b"Authorization: Bearer token=" + good], plain),
                "a cookie": ([b"Cookie: token=" + good], plain),
                "another header": ([b"X-Authorization: Bearer " + good, b"Proxy-Authorization: Bearer " + good], plain),
                "in the query": ([], query),
                "in the query, and a bad header": ([b"Authorization: Bearer x"], query),
            }
            answers = await ask_all(port, requests)
            for header in (b"Bearer ", b"bearer ", b"BEARER ", b"Bearer  "):
                status, _, _ = await upgrade(port, b"Authorization: " + header + good)
                assert status == b"HTTP/1.1 101 Switching Protocols"
            return answers

    answers = asyncio.run(go())
    assert len(answers) > 150
    first = answers["no header"]
    assert first[0] == b"HTTP/1.1 401 Unauthorized"
    assert json.loads(first[2])["type"] == "unauthorized"
    assert {name: answer for name, answer in answers.items() if answer != first} == {}
