from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import LIMITS, Type
from enclave.wire.messages import (
    MAX_NEW_TOKENS,
    MAX_PROMPT_BYTES,
    MAX_TEXT_BYTES,
    MAX_TEXTS_BYTES,
    Claims,
    ClientHello,
    Collect,
    Completion,
    Generate,
    Output,
    Part,
    Request,
    Response,
)
from enclave.wire.settings import Settings

MESSAGES: list[Any] = [
    ClientHello(bytes(range(32))),
    Claims(b"k" * 32, b"s" * 32, b"m" * 32),
    Request(("one", "two", "")),
    Output((2, 3), bytes(24)),
    Generate("once upon", 5, 700, 2**64 - 1),
    Part(128_000, " a"),
    Completion((5, 0), " a time", "stop"),
    Response(b"output", b"receipt"),
    Collect(),
    Collect(b"d" * 32),
    Settings("http://kms", "http://s3", "r", "b", "p", 2, 100, True, "id", "secret", ""),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_round_trip(message: ClientHello) -> None:
    assert type(message).decode(message.encode()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@given(data=st.data())
def test_a_flipped_bit_never_escapes(message: ClientHello, data: st.DataObject) -> None:
    encoded = bytearray(message.encode())
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        found = type(message).decode(bytes(encoded))
    except RemoteProtocolError:
        return
    assert found != message and found.encode() == bytes(encoded)


@given(st.binary(max_size=80))
@pytest.mark.parametrize("kind", {type(message) for message in MESSAGES})
def test_noise_never_escapes(kind: type[ClientHello], data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        kind.decode(data)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (ClientHello, {1: "confbench/2", 2: bytes(32)}, "protocol"),
        (ClientHello, {1: "confbench/1", 2: bytes(31)}, "field 2"),
        (ClientHello, {1: "confbench/1", 2: bytes(32), 3: 0}, "keys 1 to 2"),
        (ClientHello, {1: "confbench/1"}, "keys 1 to 2"),
        (Request, {1: []}, "1 to 64"),
        (Request, {1: ["text"] * 65}, "1 to 64"),
        (Request, {1: ["text", 5]}, "1 to 64"),
        (Request, {1: ["x" * (MAX_TEXT_BYTES + 1)]}, "limits 16384 and 131072"),
        (Request, {1: ["\u00e4" * (MAX_TEXT_BYTES // 2) + "x"]}, "limits 16384 and 131072"),
        (Request, {1: ["x" * MAX_TEXT_BYTES] * 8 + ["x"]}, "limits 16384 and 131072"),
        (Output, {1: [2], 2: bytes(9)}, "its shape says 8"),
        (Output, {1: [0], 2: b""}, "positive"),
        (Output, {1: [-1], 2: b""}, "positive"),
        (Output, {1: [True], 2: bytes(4)}, "positive"),
        (Generate, {1: "x" * (MAX_PROMPT_BYTES + 1), 2: 1, 3: 0, 4: 0}, "limit 65536"),
        (Generate, {1: b"x", 2: 1, 3: 0, 4: 0}, "field 1"),
        (Generate, {1: "x", 2: 0, 3: 0, 4: 0}, "max_new_tokens: 0, not 1 to 4096"),
        (Generate, {1: "x", 2: MAX_NEW_TOKENS + 1, 3: 0, 4: 0}, "max_new_tokens: 4097"),
        (Generate, {1: "x", 2: 1, 3: -1, 4: 0}, "temperature_milli: -1"),
        (Generate, {1: "x", 2: 1, 3: 10_001, 4: 0}, "temperature_milli: 10001"),
        (Generate, {1: "x", 2: 1, 3: 0.5, 4: 0}, "temperature_milli: float"),
        (Generate, {1: "x", 2: 1, 3: 0, 4: -1}, "seed: -1"),
        (Part, {1: -1, 2: ""}, "token: -1"),
        (Part, {1: 1 << 31, 2: ""}, "token: 2147483648"),
        (Part, {1: True, 2: ""}, "token: bool"),
        (Part, {1: 1, 2: b""}, "field 2"),
        (Completion, {1: [1] * (MAX_NEW_TOKENS + 1), 2: "", 3: "length"}, "at most 4096"),
        (Completion, {1: [-1], 2: "", 3: "stop"}, "token ids"),
        (Completion, {1: [1], 2: "", 3: "error"}, "stop or length"),
        (Collect, {1: bytes(31)}, "32 bytes"),
        (Claims, {1: "confbench/1", 2: bytes(32), 3: bytes(32), 4: bytes(33)}, "field 4"),
    ],
)
def test_refused(kind: type[ClientHello], fields: dict[int, object], message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        kind.decode(cbor.encode(fields))


def settings(**changed: object) -> bytes:
    values = cbor.decode(MESSAGES[-1].encode())
    assert isinstance(values, dict)
    return cbor.encode({**values, **changed})


@pytest.mark.attack(40)
@pytest.mark.parametrize(
    "changed",
    [
        {"threads": 0},
        {"sessions": 5000},
        {"half_open": 0},
        {"handshake_seconds": 0},
        {"idle_seconds": 0},
        {"idle_seconds": True},
        {"session_seconds": 0},
        {"session_seconds": 24 * 3600 + 1},
        {"batch": 0},
        {"batch": 65},
        {"device": "tpu"},
        {"response_bucket_bytes": -1},
        {"response_bucket_bytes": (1 << 20) + 1},
        {"echo": 1},
        {"region": 5},
        {"region": "x" * 5000},
        {"LD_PRELOAD": "x"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_settings_are_a_closed_set(changed: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError):
        Settings.decode(settings(**changed))


@pytest.mark.attack(40, 46)
def test_credentials_are_neither_measured_nor_shown() -> None:
    found = Settings.decode(settings(secret_access_key="another"))
    assert found.digest() == MESSAGES[-1].digest()
    assert "another" not in repr(found)
    assert Settings.decode(settings(bucket="other")).digest() != found.digest()


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_cut_and_every_trailing_byte_is_refused(message: ClientHello) -> None:
    encoded = message.encode()
    for at in range(len(encoded)):
        with pytest.raises(RemoteProtocolError):
            type(message).decode(encoded[:at])
    for more in (b"\x00", b"\xf6", encoded):
        with pytest.raises(RemoteProtocolError):
            type(message).decode(encoded + more)


def test_the_largest_request_fits_its_frame() -> None:
    texts = ("x" * MAX_TEXT_BYTES,) * (MAX_TEXTS_BYTES // MAX_TEXT_BYTES)
    encoded = Request(texts).encode()
    assert Request.decode(encoded).texts == texts
    assert len(encoded) + 4 + 16 <= LIMITS[Type.REQUEST]


def test_the_largest_prompt_fits_its_frame() -> None:
    encoded = Generate("x" * MAX_PROMPT_BYTES, MAX_NEW_TOKENS, 10_000, 2**64 - 1).encode()
    assert Generate.decode(encoded).prompt == "x" * MAX_PROMPT_BYTES
    assert len(encoded) + 4 + 16 <= LIMITS[Type.GENERATE]


@pytest.mark.parametrize(("asked", "stop"), [(2, "length"), (3, "stop")])
def test_a_completion_is_what_its_parts_amount_to(asked: int, stop: str) -> None:
    parts = [Part(7, ""), Part(9, "\u00e4b")]
    assert Completion.of(parts, asked) == Completion((7, 9), "\u00e4b", stop)
