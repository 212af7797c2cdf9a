"""The record layer: what makes bytes on an open session secret, whole and in order.

One key each way. The nonce is the record's number, the additional data everything else the
receiver relies on (SPEC.md section 5). Strict order; the first failure ends the session.
"""

from __future__ import annotations

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.frames import VERSION, Type

TAG_BYTES = 16
MAX_RECORDS = 1 << 32  # per key and direction, far below the nonce space
_ADDITIONAL = struct.Struct(">BBB16sQI")  # version, direction, type, session id, number, length


class Direction:
    """Seals or opens the records of one direction, in order."""

    def __init__(self, key: bytes, session_id: bytes, code: int) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._session_id = session_id
        self._code = code
        self._number = 0

    def seal(self, kind: Type, plaintext: bytes) -> bytes:
        """The body of the next frame of this type."""
        nonce, additional = self._next(kind, len(plaintext) + TAG_BYTES)
        return self._aead.encrypt(nonce, plaintext, additional)

    def open(self, kind: Type, body: bytes | bytearray) -> bytes:
        """The plaintext of the next frame, or RemoteProtocolError, after which nothing opens."""
        nonce, additional = self._next(kind, len(body))
        try:
            return self._aead.decrypt(nonce, body, additional)
        except InvalidTag:
            self._number = MAX_RECORDS  # close on first failure
            raise RemoteProtocolError("a record failed authentication") from None

    def _next(self, kind: Type, length: int) -> tuple[bytes, bytes]:
        number = self._number
        if number >= MAX_RECORDS:
            raise LocalProtocolError("no record may follow on this key")
        self._number = number + 1
        additional = _ADDITIONAL.pack(VERSION, self._code, kind, self._session_id, number, length)
        return number.to_bytes(12, "big"), additional
