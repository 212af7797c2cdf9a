"""One short text that commits to a channel's key, a challenge and a context."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from hashlib import sha256

import pytest

from enclave.wire import hpke, messages
from enclave.wire.binding import CHALLENGE_BYTES, PUBLIC_KEY_BYTES, token_nonce
from enclave.wire.errors import LocalProtocolError

KEY, CHALLENGE, CONTEXT = b"\x01" * 32, b"\x02" * 32, b"confbench/1"


def test_it_is_the_digest_of_all_three() -> None:
    nonce = token_nonce(KEY, CHALLENGE, CONTEXT)
    assert urlsafe_b64decode(nonce + "=") == sha256(KEY + CHALLENGE + CONTEXT).digest()
    assert len(nonce) == 43  # within 10 to 74 and 8 to 88 bytes, the two documented limits
    assert nonce == "KWBjcmFpqL7xryCQ8N1f9LAUy2dTB6sTKE_GiRQbB3Q"


@pytest.mark.attack(19)
def test_each_of_the_three_changes_it() -> None:
    nonces = {
        token_nonce(KEY, CHALLENGE, CONTEXT),
        token_nonce(b"\x03" + KEY[1:], CHALLENGE, CONTEXT),
        token_nonce(KEY, b"\x03" + CHALLENGE[1:], CONTEXT),
        token_nonce(KEY, CHALLENGE, CONTEXT + b"\0"),
        token_nonce(CHALLENGE, KEY, CONTEXT),
    }
    assert len(nonces) == 5


@pytest.mark.parametrize(
    ("key", "challenge", "context"),
    [
        (KEY[:-1], CHALLENGE, CONTEXT),
        (KEY + b"\x02", CHALLENGE[:-1], CONTEXT),
        (KEY, CHALLENGE + b"c", CONTEXT),
        (b"", CHALLENGE, CONTEXT),
        (KEY, CHALLENGE, b""),
        (KEY, CHALLENGE, b"c" * 65),
    ],
)
def test_lengths_that_could_be_split_in_two_ways_are_refused(
    key: bytes, challenge: bytes, context: bytes
) -> None:
    with pytest.raises(LocalProtocolError):
        token_nonce(key, challenge, context)


def test_its_sizes_are_those_of_the_session() -> None:
    assert PUBLIC_KEY_BYTES == hpke.PUBLIC_KEY_BYTES
    assert CHALLENGE_BYTES == messages.CHALLENGE_BYTES
