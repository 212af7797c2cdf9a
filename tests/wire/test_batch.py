from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import batch, cbor, cose, receipt
from enclave.wire.batch import Statement
from enclave.wire.errors import LocalProtocolError, VerificationError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
STATEMENT = Statement(
    session=b"s" * 16,
    index=3,
    previous=b"p" * 32,
    receipts=9,
    receipts_head=b"h" * 32,
    body=cbor.encode({"boot_ns": 5}),
)
SIGNED = batch.issue(STATEMENT, KEY)
MESSAGE = cose.parse(SIGNED, tagged=True)

digests = st.binary(min_size=32, max_size=32)
counts = st.integers(0, (1 << 64) - 1)


@given(
    st.builds(
        Statement,
        session=st.binary(min_size=1, max_size=64),
        index=counts,
        previous=digests,
        receipts=counts,
        receipts_head=digests,
        body=st.binary(max_size=200),
    )
)
def test_round_trip(statement: Statement) -> None:
    assert batch.verify(batch.issue(statement, KEY), PUBLIC) == statement


def test_a_body_larger_than_a_receipt_may_be() -> None:
    large = replace(STATEMENT, body=bytes(1 << 20))
    assert batch.verify(batch.issue(large, KEY), PUBLIC) == large


def step(data: bytes) -> str:
    with pytest.raises(VerificationError) as caught:
        batch.verify(data, PUBLIC)
    return caught.value.step


def sign(fields: object) -> bytes:
    return cose.sign_ed25519(cbor.encode(fields), KEY, protected=MESSAGE.protected)


REFUSED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "statement envelope"),
    "no tag": (SIGNED[1:], "statement envelope"),
    "trailing byte": (SIGNED + b"\x00", "statement envelope"),
    "signed as a receipt": (
        cose.sign_ed25519(MESSAGE.payload, KEY, protected=receipt.PROTECTED),
        "statement header",
    ),
    "body changed": (SIGNED.replace(b"boot_ns", b"boot_us"), "statement signature"),
    "signature changed": (SIGNED[:-1] + bytes([SIGNED[-1] ^ 1]), "statement signature"),
    "not a map": (sign([1]), "statement fields"),
    "no fields": (sign({}), "statement fields"),
    "a field more": (sign({**dict.fromkeys(range(1, 8), 0)}), "statement fields"),
    "fields of other types": (sign(dict.fromkeys(range(1, 7), 0)), "statement fields"),
}


@pytest.mark.attack(30)
@pytest.mark.parametrize(("data", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(data: bytes, expected: str) -> None:
    assert step(data) == expected


def test_another_key_is_refused() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    assert step(batch.issue(STATEMENT, other)) == "statement signature"


@pytest.mark.attack(29)
def test_a_statement_is_no_receipt() -> None:
    with pytest.raises(receipt.ReceiptError) as caught:
        receipt.verify(SIGNED, PUBLIC)
    assert caught.value.step == "CONTENT_TYPE"


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[bit // 8] ^= 1 << bit % 8
    step(bytes(changed))


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    step(data)
    if data:
        signed = cose.sign_ed25519(data, KEY, protected=MESSAGE.protected)
        assert step(signed) == "statement fields"


@pytest.mark.parametrize(
    "change",
    [
        {"session": b""},
        {"session": bytes(65)},
        {"index": -1},
        {"index": True},
        {"previous": bytes(31)},
        {"receipts": 1 << 64},
        {"receipts_head": bytes(33)},
        {"body": "text"},
    ],
    ids=str,
)
def test_issue_refuses_what_verify_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match=next(iter(change))):
        batch.issue(replace(STATEMENT, **change), KEY)


# The chain of receipts.


def head(*receipts: bytes) -> bytes:
    found = batch.START
    for one in receipts:
        found = batch.chain(found, one)
    return found


def test_the_chain_is_what_its_docstring_says() -> None:
    expected = sha256(b"confbench/1 receipt chain" + bytes(32) + sha256(b"one").digest()).digest()
    assert batch.chain(batch.START, b"one") == expected


@pytest.mark.attack(30)
@pytest.mark.parametrize(
    "receipts",
    [
        (b"one", b"three"),
        (b"one", b"two"),
        (b"two", b"three"),
        (b"two", b"one", b"three"),
        (b"one", b"two", b"two", b"three"),
        (b"one", b"twothree"),
        (b"onetwo", b"three"),
        (),
    ],
    ids=["dropped", "cut at the end", "cut at the start", "moved", "twice", "joined", "j", "none"],
)
def test_no_receipt_is_dropped_added_or_moved_unseen(receipts: tuple[bytes, ...]) -> None:
    assert head(*receipts) != head(b"one", b"two", b"three")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_head_has_32_bytes(size: int) -> None:
    with pytest.raises(LocalProtocolError, match="32 bytes"):
        batch.chain(bytes(size), b"one")
