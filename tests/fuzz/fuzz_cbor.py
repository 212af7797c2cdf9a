"""Our CBOR: refused, or the one encoding of a value that another decoder reads alike."""

from __future__ import annotations

import cbor2

from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError

SEEDS = tuple(
    cbor.encode(value)
    for value in (
        {1: b"bytes", 2: "text", "name": [1, -1, None, True, 1.5, 1e300]},
        [[[[{}]]], {b"key": -(1 << 64)}],
        (1 << 64) - 1,
        "\N{GREEK SMALL LETTER ALPHA}" * 30,
        [1, 24, 256, 65536, 1 << 32, 0.1],
    )
)


def judge(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except RemoteProtocolError:
        return
    assert cbor.encode(value) == data
    assert cbor2.loads(data) == value
