"""Key establishment by HPKE (RFC 9180), base mode, used for set-up and export only.

The record layer is our own (records.py): pyhpke's contexts advance their sequence number before
the tag is checked, so one forged frame would break every later good one.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pyhpke import AEADId, CipherSuite, KDFId, KEMId
from pyhpke.context_interface import ContextInterface
from pyhpke.exceptions import PyHPKEError
from pyhpke.keys.x25519_key import X25519Key

from enclave.wire.errors import RemoteProtocolError

SUITE_NAME = "DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305"
SUITE_ID = bytes.fromhex("002000010003")  # RFC 9180 section 7: KEM, KDF, AEAD
PUBLIC_KEY_BYTES = 32
ENCAPSULATED_BYTES = 32

_SUITE = CipherSuite.new(
    KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305
)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What both sides export from one HPKE context (RFC 9180 5.3): a key each way and an id."""

    client_key: bytes
    server_key: bytes
    session_id: bytes

    def __repr__(self) -> str:
        return f"Secrets(session_id={self.session_id.hex()})"


def establish(public_key: bytes, info: bytes) -> tuple[bytes, Secrets]:
    """Client side (RFC 9180 5.1.1, SetupBaseS): the encapsulated key and the secrets."""
    try:
        key = X25519Key(X25519PublicKey.from_public_bytes(public_key))
        encapsulated, context = _SUITE.create_sender_context(key, info)
    except (PyHPKEError, ValueError) as error:
        raise RemoteProtocolError("the peer's public key is not a usable X25519 key") from error
    return encapsulated, _export(context)


def accept(private_key: X25519PrivateKey, encapsulated: bytes, info: bytes) -> Secrets:
    """Server side (RFC 9180 5.1.1, SetupBaseR): the same secrets, or RemoteProtocolError."""
    try:
        context = _SUITE.create_recipient_context(encapsulated, X25519Key(private_key), info)
    except (PyHPKEError, ValueError) as error:
        raise RemoteProtocolError("the encapsulated key is not usable") from error
    return _export(context)


def _export(context: ContextInterface) -> Secrets:
    return Secrets(
        client_key=context.export(b"confbench/1 client to server", 32),
        server_key=context.export(b"confbench/1 server to client", 32),
        session_id=context.export(b"confbench/1 session id", 16),
    )
