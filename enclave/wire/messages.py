"""Messages: frozen dataclasses and their one CBOR encoding, side by side.

Every map has small unsigned keys and is closed: an unknown or missing key is refused. Decoders
raise RemoteProtocolError and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from enclave.wire import cbor
from enclave.wire.bounds import Bounds
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import LIMITS, Type

PROTOCOL = "confbench/1"
CHALLENGE_BYTES = 32

# Tokenizing takes 0.6 s a megabyte, whatever the model then cuts off: 80 ms at the most.
MAX_TEXTS = 64
MAX_TEXT_BYTES = 16 * 1024  # of UTF-8
MAX_TEXTS_BYTES = 128 * 1024  # all texts of a request together
MAX_PROMPT_BYTES = 64 * 1024
MAX_NEW_TOKENS = 4096
GENERATE_BOUNDS = {  # in the order of the keys 2 to 4
    "max_new_tokens": Bounds(int, 1, MAX_NEW_TOKENS),
    "temperature_milli": Bounds(int, 0, 10_000),
    "seed": Bounds(int, 0, (1 << 64) - 1),
}
TOKEN = Bounds(int, 0, (1 << 31) - 1)
STOP, LENGTH = "stop", "length"

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
    """Texts to embed or to score, 1 to 64 of them, each and all together of a limited size."""

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
class Generate:
    """A prompt to go on from. Temperature is in thousandths, and 0 takes the likeliest token."""

    prompt: str
    max_new_tokens: int
    temperature_milli: int
    seed: int

    def encode(self) -> bytes:
        values = (getattr(self, name) for name in GENERATE_BOUNDS)
        return cbor.encode({1: self.prompt, **dict(enumerate(values, start=2))})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Generate:
        fields = _map(data, LIMITS[Type.GENERATE], 4)
        prompt = _take(fields, 1, str)
        if (size := len(prompt.encode())) > MAX_PROMPT_BYTES:
            raise RemoteProtocolError(f"prompt of {size} bytes, limit {MAX_PROMPT_BYTES}")
        for key, (name, bounds) in enumerate(GENERATE_BOUNDS.items(), start=2):
            if fault := bounds.fault(fields[key]):
                raise RemoteProtocolError(f"{name}: {fault}")
        return cls(prompt, *(_take(fields, key, int) for key in (2, 3, 4)))


@dataclass(frozen=True, slots=True)
class Part:
    """A sampled token, and the text that became complete with it, which may be none."""

    token: int
    text: str

    def encode(self) -> bytes:
        return cbor.encode({1: self.token, 2: self.text})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Part:
        fields = _map(data, LIMITS[Type.PART], 2)
        if fault := TOKEN.fault(fields[1]):
            raise RemoteProtocolError(f"token: {fault}")
        return cls(_take(fields, 1, int), _take(fields, 2, str))


@dataclass(frozen=True, slots=True)
class Completion:
    """All that was generated, and what ended it. Its bytes are what a receipt hashes."""

    tokens: tuple[int, ...]
    text: str
    stop: str

    @classmethod
    def of(cls, parts: Sequence[Part], max_new_tokens: int) -> Completion:
        """What these parts amount to; fewer tokens than asked for mean that the model stopped."""
        tokens = tuple(part.token for part in parts)
        stop = LENGTH if len(tokens) == max_new_tokens else STOP
        return cls(tokens, "".join(part.text for part in parts), stop)

    def encode(self) -> bytes:
        return cbor.encode({1: list(self.tokens), 2: self.text, 3: self.stop})

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Completion:
        fields = _map(data, LIMITS[Type.RESPONSE], 3)
        tokens, stop = _take(fields, 1, list), fields[3]
        if len(tokens) > MAX_NEW_TOKENS or any(TOKEN.fault(token) for token in tokens):
            raise RemoteProtocolError(f"a completion holds at most {MAX_NEW_TOKENS} token ids")
        if stop not in (STOP, LENGTH):
            raise RemoteProtocolError(f"a completion ends by {STOP} or {LENGTH}")
        return cls(tuple(tokens), _take(fields, 2, str), _take(fields, 3, str))


@dataclass(frozen=True, slots=True)
class Response:
    """An encoded Output or Completion, and the AIR v1 receipt over it (plain servers: none)."""

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
