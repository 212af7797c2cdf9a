"""How a token whose only free field is a short text is bound to a channel.

A Nitro document carries a public key, user data and a nonce; a Confidential Space token echoes up
to six texts and nothing else. So one text commits to all that a session needs.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import sha256

from enclave.wire.errors import LocalProtocolError

PUBLIC_KEY_BYTES = 32
CHALLENGE_BYTES = 32
MAX_CONTEXT_BYTES = 64


def token_nonce(public_key: bytes, challenge: bytes, context: bytes) -> str:
    """43 characters: base64url(SHA-256(channel public key || challenge || context label)).

    The first two have fixed lengths, so that no two triples are joined to the same bytes.
    LocalProtocolError for other lengths, and for a context that is empty or too long.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(challenge) != CHALLENGE_BYTES:
        raise LocalProtocolError(
            f"a key of {len(public_key)} and a challenge of {len(challenge)} bytes, not 32 each"
        )
    if not 0 < len(context) <= MAX_CONTEXT_BYTES:
        raise LocalProtocolError(f"a context label of {len(context)} bytes")
    digest = sha256(public_key + challenge + context).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
