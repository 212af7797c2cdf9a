"""An object of S3 as it arrives: untrusted bytes, of exactly the length that was announced."""

from __future__ import annotations

from typing import Protocol

from enclave.wire.errors import RemoteProtocolError


class Body(Protocol):
    """What is used of botocore's streaming body."""

    def readinto(self, b: memoryview, /) -> int: ...

    def close(self) -> None: ...


class S3Object:
    """An object as it arrives: `length` bytes, from the socket straight into a buffer."""

    def __init__(self, key: str, body: Body, length: int | None) -> None:
        if length is None or length < 0:
            body.close()
            raise RemoteProtocolError(f"object {key!r} has no length")
        self.length = length
        self._key = key
        self._body = body
        self._received = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill as much of `buffer` as came; 0 at the end, RemoteProtocolError at an early one."""
        wanted = buffer[: self.length - self._received]
        if not wanted:
            return 0
        try:
            count = self._body.readinto(wanted)
        except Exception as error:  # who reads a hostile reply promises no closed set
            raise self._cut_off() from error
        if count == 0:
            raise self._cut_off()
        self._received += count
        return count

    def close(self) -> None:
        """Hang up, whatever is still to come."""
        self._body.close()

    def _cut_off(self) -> RemoteProtocolError:
        self._body.close()
        return RemoteProtocolError(
            f"object {self._key!r} ended after {self._received} of {self.length} bytes"
        )
