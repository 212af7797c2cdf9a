"""Attestation documents: envelope, payload and chain. The root is the input's own, so that an
input alone is enough to repeat a finding, and mutations reach the certificates."""

from __future__ import annotations

from contextlib import suppress

from bench.emulators.nsm import encode_payload
from bench.verify import document, nitro
from enclave.wire import cose
from enclave.wire.errors import RemoteProtocolError, VerificationError
from tests.verify import forge

PAYLOADS = [
    encode_payload(forge.fields(), indefinite_map=True),
    encode_payload(forge.fields(user_data=None, public_key=None), indefinite_map=False),
]
SEEDS = (*map(forge.signed, PAYLOADS), *PAYLOADS)


def judge(data: bytes) -> None:
    with suppress(VerificationError):
        nitro.claimed_time(data)
    with suppress(VerificationError):
        document.read(data)
    try:
        root = document.read(cose.parse(data, tagged=None).payload).cabundle[0]
        found = nitro.authenticate(data, root=root, now=forge.NOW)
    except (VerificationError, RemoteProtocolError):
        return
    assert found.cabundle[0] == root
