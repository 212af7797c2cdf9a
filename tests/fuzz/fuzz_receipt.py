"""Receipts and statements, as they come and as claims under a right signature."""

from __future__ import annotations

from contextlib import suppress

from enclave.wire import batch, claims, cose, receipt
from enclave.wire.errors import RemoteProtocolError, VerificationError
from tests.vectors.honest import KEY, RECEIPT, STATEMENT

SIGNED = receipt.issue(RECEIPT, KEY)
STATED = batch.issue(STATEMENT, KEY)
SEEDS = (SIGNED, claims.encode(RECEIPT), STATED, cose.parse(STATED, tagged=True).payload)
PROTECTED = cose.parse(STATED, tagged=True).protected


def judge(data: bytes) -> None:
    for verify in (receipt.verify, batch.verify):
        with suppress(VerificationError):
            assert verify(data, KEY.public_key()) in (RECEIPT, STATEMENT)
    with suppress(VerificationError):
        signed = cose.sign_ed25519(data, KEY, protected=PROTECTED)
        assert batch.issue(batch.verify(signed, KEY.public_key()), KEY) == signed
    try:
        claims.decode(data)
    except RemoteProtocolError:
        return
    with suppress(VerificationError):
        signed = cose.sign_ed25519(data, KEY, protected=receipt.PROTECTED)
        assert receipt.issue(receipt.verify(signed, KEY.public_key()), KEY) == signed
