"""COSE_Sign1 (RFC 9052 section 4.2) in the one profile used here.

The unprotected header is empty, the payload is attached, there is no external data. The header
that says what was signed is protected, and each kind of message has its own, so no signature made
for one kind can be shown as another.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError, VerificationError

MAX_BYTES = 64 * 1024
ALGORITHM, CONTENT_TYPE = 1, 3  # header parameters, RFC 9052 section 3.1
EDDSA = -8  # RFC 9053 section 2.2
SIGNATURE_BYTES = 64

_TAG = b"\xd2"  # CBOR tag 18, RFC 9052 section 2

# Edwards25519 (RFC 8032 section 5.1): the field's prime, and y of its eight points of small order.
_PRIME = 2**255 - 19
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER = frozenset({0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8})


@dataclass(frozen=True, slots=True)
class Sign1:
    """A parsed message: nothing in it is authentic yet."""

    protected: bytes
    payload: bytes
    signature: bytes


class UnprotectedHeaderError(RemoteProtocolError):
    """The unprotected header holds something, which no signature covers."""


class PayloadMissingError(RemoteProtocolError):
    """The payload is detached (null) or empty."""


def parse(data: bytes, *, tagged: bool | None, max_bytes: int = MAX_BYTES) -> Sign1:
    """Take a message apart; RemoteProtocolError unless it is in the profile.

    `tagged` says whether tag 18 must stand (True), must not (False) or may (None) stand in front.
    """
    has_tag = data[:1] == _TAG
    if tagged is not None and has_tag is not tagged:
        raise RemoteProtocolError(f"cose tag 18 is {'missing' if tagged else 'not expected'}")
    array = data[1:] if has_tag else data
    fields = cbor.decode(array, max_bytes=max_bytes, max_depth=4)
    if type(fields) is not list or len(fields) != 4:
        raise RemoteProtocolError("cose message is not an array of four")
    protected, unprotected, payload, signature = fields
    if type(protected) is not bytes or type(unprotected) is not dict:
        raise RemoteProtocolError("cose headers are not a byte string and a map")
    if type(signature) is not bytes or type(payload) not in (bytes, type(None)):
        raise RemoteProtocolError("cose payload or signature is not a byte string")
    if unprotected:
        raise UnprotectedHeaderError("the unprotected header is not empty")
    if not payload:
        raise PayloadMissingError("the payload is detached or empty")
    return Sign1(protected, payload, signature)


def signature_input(protected: bytes, payload: bytes) -> bytes:
    """The bytes that are signed: Sig_structure of RFC 9052 section 4.4, no external data."""
    return cbor.encode(["Signature1", protected, b"", payload])


def sign_ed25519(
    payload: bytes, key: Ed25519PrivateKey, *, protected: bytes, tagged: bool = True
) -> bytes:
    """A whole message; the inverse of `parse` and `verify_ed25519`."""
    signature = key.sign(signature_input(protected, payload))
    message = cbor.encode([protected, {}, payload, signature])
    return _TAG + message if tagged else message


def verify_ed25519(message: Sign1, key: Ed25519PublicKey, *, step: str = "signature") -> bytes:
    """The payload, now authentic; VerificationError(step) otherwise.

    1. The key is a canonical point and of large order, as is the signature's point R.
    2. S is below the group's order and the equation holds without the cofactor (RFC 8032 5.1.7).
    """
    # 1. The library leaves this out: under a key of small order one signature fits any message.
    for name, point in (("key", key.public_bytes_raw()), ("signature", message.signature[:32])):
        y = int.from_bytes(point, "little") & (1 << 255) - 1
        if y >= _PRIME or y in _SMALL_ORDER:
            found = f"a point of small order or with two encodings in the {name}"
            raise VerificationError(step, found=found, expected="a point of large order")
    # 2.
    try:
        key.verify(message.signature, signature_input(message.protected, message.payload))
    except InvalidSignature:
        raise VerificationError(
            step,
            found="a signature that does not match",
            expected="one by the given key over these bytes",
            hint="the message was changed, or another key signed it",
        ) from None
    return message.payload
