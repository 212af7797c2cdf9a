"""Messages: frozen dataclasses and their one CBOR encoding, side by side.

Every map has small unsigned keys and is closed: an unknown or missing key is refused. Decoders
raise RemoteProtocolError and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import LIMITS, Type

PROTOCOL = "confbench/1"
CHALLENGE_BYTES = 32

# Tokenizing takes 0.6 s a megabyte, whatever the model then cuts off: 80 ms at the most.
MAX_TEXTS = 64
MAX_TEXT_BYTES = 16 * 1024  # of UTF-8
MAX_TEXTS_BYTES = 128 * 1024  # all texts of a request together

T = TypeVar("T")


def _map(data: bytes | bytearray, limit: int, keys: int) -> Mapping[object, object]:
    value = cbor.decode(bytes(data), max_bytes=limit)
    if type(value) is not dict or set(value) != set(range(1, keys + 1)):
        raise RemoteProtocolError(f"message is not a map of keys 1 to {keys}")
    return value


def _take(fields: Mapping[object, object], key: int, kind: type[T], size: int | None = None) -> T:
    value = fields[key]
    if type(value) is not kind or (size is not None and len(value) != size):  # type: ignore[arg-type]
        raise RemoteProtocolError(f"message field {key} has the wrong type or size")
    return value


@dataclass(frozen=True, slots=True)
class ClientHello:
    """The client's challenge: 32 fresh random bytes that the evidence must repeat as its nonce."""

    challenge: bytes

    def encode(self) -> bytes:
        return cbor.encode({1: PROTOCOL, 2: self.challenge})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> ClientHello:
        fields = _map(data, LIMITS[Type.CLIENT_HELLO], 2)
        if fields[1] != PROTOCOL:
            raise RemoteProtocolError(f"protocol is not {PROTOCOL}")
        return cls(_take(fields, 2, bytes, CHALLENGE_BYTES))


@dataclass(frozen=True, slots=True)
class Claims:
    """What the enclave has attested about itself in `user_data` (at most 512 bytes)."""

    receipt_key: bytes
    settings_digest: bytes
    manifest_digest: bytes

    def encode(self) -> bytes:
        values = self.receipt_key, self.settings_digest, self.manifest_digest
        return cbor.encode({1: PROTOCOL, **dict(enumerate(values, start=2))})

    @classmethod
    def decode(cls, data: bytes) -> Claims:
        fields = _map(data, 512, 4)
        if fields[1] != PROTOCOL:
            raise RemoteProtocolError(f"protocol is not {PROTOCOL}")
        return cls(*(_take(fields, key, bytes, 32) for key in (2, 3, 4)))


@dataclass(frozen=True, slots=True)
class Request:
    """Texts to embed, 1 to 64 of them, each and all together of a limited size."""

    texts: tuple[str, ...]

    def encode(self) -> bytes:
        return cbor.encode({1: list(self.texts)})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Request:
        texts = _take(_map(data, LIMITS[Type.REQUEST], 1), 1, list)
        if not 1 <= len(texts) <= MAX_TEXTS or not all(type(text) is str for text in texts):
            raise RemoteProtocolError(f"a request holds 1 to {MAX_TEXTS} texts")
        sizes = [len(text.encode()) for text in texts]
        if max(sizes) > MAX_TEXT_BYTES or sum(sizes) > MAX_TEXTS_BYTES:
            raise RemoteProtocolError(
                f"texts of up to {max(sizes)} and together {sum(sizes)} bytes, "
                f"limits {MAX_TEXT_BYTES} and {MAX_TEXTS_BYTES}"
            )
        return cls(tuple(texts))


@dataclass(frozen=True, slots=True)
class Output:
    """float32 little-endian values of `shape`, row by row. Its bytes are what a receipt hashes."""

    shape: tuple[int, ...]
    values: bytes

    def encode(self) -> bytes:
        return cbor.encode({1: list(self.shape), 2: self.values})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Output:
        fields = _map(data, LIMITS[Type.RESPONSE], 2)
        shape, values = _take(fields, 1, list), _take(fields, 2, bytes)
        if not all(type(size) is int and 0 < size <= 1 << 20 for size in shape):
            raise RemoteProtocolError("an output's shape holds positive integers")
        count = 4
        for size in shape:
            count *= size
        if len(values) != count:
            raise RemoteProtocolError(f"output of {len(values)} bytes, its shape says {count}")
        return cls(tuple(shape), values)


@dataclass(frozen=True, slots=True)
class Response:
    """An encoded Output and the AIR v1 receipt over it (empty from the plain server)."""

    output: bytes
    receipt: bytes

    def encode(self) -> bytes:
        return cbor.encode({1: self.output, 2: self.receipt})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Response:
        fields = _map(data, LIMITS[Type.RESPONSE], 2)
        return cls(_take(fields, 1, bytes), _take(fields, 2, bytes))


@dataclass(frozen=True, slots=True)
class Collect:
    """Ask for a signed statement; `records` is a digest it shall commit to, or empty."""

    records: bytes = b""

    def encode(self) -> bytes:
        return cbor.encode({1: self.records})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Collect:
        records = _take(_map(data, LIMITS[Type.COLLECT], 1), 1, bytes)
        if len(records) not in (0, 32):
            raise RemoteProtocolError("a records digest has 32 bytes")
        return cls(records)
