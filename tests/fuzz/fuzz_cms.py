"""The reader of key envelopes: a candidate key, or one error with one message."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from bench.emulators.cms import wrap
from enclave.tee.cms import UNREADABLE, KeyReleaseError, unwrap

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SEEDS = tuple(
    wrap(bytes(length), KEY.public_key(), content_key=bytes(32), iv=bytes(16))
    for length in (0, 32, 1500)
)


def judge(data: bytes) -> None:
    try:
        secret = unwrap(data, KEY)
    except KeyReleaseError as error:
        assert str(error) == UNREADABLE
        return
    assert len(secret) < len(data)
