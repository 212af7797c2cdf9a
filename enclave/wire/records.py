"""The record layer: what makes bytes on an open session secret, whole and in order.

One key each way. The nonce is the record's number, the additional data everything else the
receiver relies on (SPEC.md section 5). Strict order; the first failure ends the session. A record
says inside how long its message is, so that its own length may say less.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.frames import LIMITS, VERSION, Type

TAG_BYTES = 16
MAX_RECORDS = 1 << 32  # per key, so per direction; far below the nonce space
MAX_BYTES = 1 << 40  # per key, of sealed records
_ADDITIONAL = struct.Struct(">BBB16sQI")  # version, direction, type, session id, number, length
_LENGTH = struct.Struct(">I")


class Direction:
    """Seals or opens the records of one direction, in order.

    What it seals is filled up to a multiple of `bucket_bytes`, within the limit of its type; what
    it opens may be filled up to any length.
    """

    def __init__(self, key: bytes, session_id: bytes, code: int, bucket_bytes: int = 0) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._session_id = session_id
        self._code = code
        self._bucket_bytes = bucket_bytes
        self._number = 0
        self._bytes = 0

    def seal(self, kind: Type, message: bytes) -> bytes:
        """The body of the next frame of this type; LocalProtocolError when the key is used up."""
        plaintext = _LENGTH.pack(len(message)) + message
        if self._bucket_bytes:
            plaintext += bytes(self._padding(kind, len(plaintext)))
        length = len(plaintext) + TAG_BYTES
        if self._is_spent(length):
            raise LocalProtocolError("no record may follow on this key")
        nonce, additional = self._next(kind, length)
        return self._aead.encrypt(nonce, plaintext, additional)

    def open(self, kind: Type, body: bytes | bytearray) -> bytes:
        """The message of the next frame, or RemoteProtocolError, after which nothing opens."""
        if self._is_spent(len(body)):
            self.close()
            raise RemoteProtocolError("no record may follow on this key")
        nonce, additional = self._next(kind, len(body))
        try:
            return _message(self._aead.decrypt(nonce, body, additional))
        except (InvalidTag, RemoteProtocolError) as error:
            self.close()
            reason = str(error) or "a record failed authentication"
            raise RemoteProtocolError(reason) from None

    def close(self) -> None:
        """Nothing is sealed or opened any more."""
        self._number = MAX_RECORDS

    def _padding(self, kind: Type, length: int) -> int:
        return max(0, min(-length % self._bucket_bytes, LIMITS[kind] - TAG_BYTES - length))

    def _is_spent(self, length: int) -> bool:
        return self._number >= MAX_RECORDS or self._bytes + length > MAX_BYTES

    def _next(self, kind: Type, length: int) -> tuple[bytes, bytes]:
        number, self._number = self._number, self._number + 1
        self._bytes += length
        additional = _ADDITIONAL.pack(VERSION, self._code, kind, self._session_id, number, length)
        return number.to_bytes(12, "big"), additional


def _message(plaintext: bytes) -> bytes:
    """What stands behind the length; after it there is nothing but zeros."""
    if len(plaintext) < _LENGTH.size:
        raise RemoteProtocolError("a record is too short for its length")
    end = _LENGTH.size + _LENGTH.unpack_from(plaintext)[0]
    padding = len(plaintext) - end
    if padding and (padding < 0 or plaintext[end:] != bytes(padding)):
        raise RemoteProtocolError("a record's length or padding is wrong")
    return plaintext[_LENGTH.size : end]
