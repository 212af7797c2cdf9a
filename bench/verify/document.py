"""The payload of a Nitro attestation document: its CBOR, and its closed set of fields.

CBOR is read here and not by `enclave.wire.cbor`, because genuine documents do not sort their keys,
and since 2025 write the outermost map with indefinite length. Both are allowed; nothing else is
that the fields have no use for: five types, shortest forms, no duplicate key, no byte left over.
Work is bounded by the bytes at hand: a length field is compared with what is left before it counts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import NoReturn, TypeVar

from bench.verify import PCR_BYTES, PCR_COUNT, Document
from enclave.wire.errors import VerificationError

MAX_PAYLOAD_BYTES = 16384  # of the AWS syntax
MAX_CERTIFICATE_BYTES = 1024
MAX_PUBLIC_KEY_BYTES = 1024
MAX_FREE_BYTES = 512  # user_data and nonce; the AWS text's limit, stricter than its syntax's 1024
MAX_TIMESTAMP_MS = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()) * 1000
MAX_DEPTH = 2  # the map of fields, and a map or array in it

REQUIRED = frozenset({"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"})
OPTIONAL = frozenset({"public_key", "user_data", "nonce"})

UNSIGNED, BYTES, TEXT, ARRAY, MAP = 0, 2, 3, 4, 5  # major types, RFC 8949 section 3.1
INDEFINITE_MAP, BREAK, NULL = 0xBF, 0xFF, 0xF6

TYPE_NAMES = {
    int: "an unsigned integer",
    bytes: "bytes",
    str: "text",
    list: "an array",
    dict: "a map",
}

T = TypeVar("T")


def read(payload: bytes) -> Document:
    """The fields of a payload; VerificationError names the step, or the field, that is wrong.

    1. CBOR of the subset above
    2. exactly the known fields; an optional one may be null or absent
    3. each of its type and within its limits
    """
    fields = decode(payload)  # 1
    if type(fields) is not dict:
        raise _payload_error(0, "no map", "a map of fields")
    names = set(fields)
    if not REQUIRED <= names <= REQUIRED | OPTIONAL:  # 2
        missing, unknown = REQUIRED - names, names - REQUIRED - OPTIONAL
        raise VerificationError(
            "fields",
            found=f"missing {sorted(missing)}, unknown {sorted(map(repr, unknown))}"[:200],
            expected=f"{sorted(REQUIRED)}, and {sorted(OPTIONAL)} or not",
        )
    return Document(  # 3
        module_id=_module_id(fields),
        timestamp_ms=_timestamp_ms(fields),
        digest=_digest(fields),
        pcrs=_pcrs(fields),
        certificate=_bytes("certificate", fields["certificate"], 1, MAX_CERTIFICATE_BYTES),
        cabundle=_cabundle(fields),
        public_key=_optional(fields, "public_key", 1, MAX_PUBLIC_KEY_BYTES),
        user_data=_optional(fields, "user_data", 0, MAX_FREE_BYTES),
        nonce=_optional(fields, "nonce", 0, MAX_FREE_BYTES),
        payload_sha256=sha256(payload).digest(),
    )


def _module_id(fields: dict[object, object]) -> str:
    value = _typed("module_id", fields["module_id"], str)
    return value if value else _refuse("module_id", "an empty text", "an instance and enclave id")


def _timestamp_ms(fields: dict[object, object]) -> int:
    value = _typed("timestamp", fields["timestamp"], int)
    if not 0 < value < MAX_TIMESTAMP_MS:
        _refuse("timestamp", value, "milliseconds since 1970, before the year 9999")
    return value


def _digest(fields: dict[object, object]) -> str:
    value = _typed("digest", fields["digest"], str)
    return value if value == "SHA384" else _refuse("digest", repr(value[:16]), "SHA384")


def _pcrs(fields: dict[object, object]) -> dict[int, bytes]:
    pcrs: dict[int, bytes] = {}
    for key, value in _typed("pcrs", fields["pcrs"], dict).items():
        index = _typed("pcrs index", key, int)
        if index >= PCR_COUNT:
            _refuse("pcrs index", index, f"0 to {PCR_COUNT - 1}")
        pcrs[index] = _bytes(f"pcrs {index}", value, PCR_BYTES, PCR_BYTES)
    return pcrs or _refuse("pcrs", "an empty map", "at least one pcr")


def _cabundle(fields: dict[object, object]) -> tuple[bytes, ...]:
    items = _typed("cabundle", fields["cabundle"], list)
    bundle = tuple(_bytes("cabundle", item, 1, MAX_CERTIFICATE_BYTES) for item in items)
    return bundle or _refuse("cabundle", "an empty array", "at least the root")


def _optional(fields: dict[object, object], name: str, least: int, most: int) -> bytes | None:
    value = fields.get(name)
    return None if value is None else _bytes(name, value, least, most)


def _bytes(name: str, value: object, least: int, most: int) -> bytes:
    data = _typed(name, value, bytes)
    if not least <= len(data) <= most:
        _refuse(name, f"{len(data)} bytes", f"{least} to {most} bytes")
    return data


def _typed(name: str, value: object, kind: type[T]) -> T:
    if type(value) is not kind:
        _refuse(name, type(value).__name__, TYPE_NAMES[kind])
    return value


def _refuse(name: str, found: object, expected: str) -> NoReturn:
    raise VerificationError(f"field {name}", found=found, expected=expected)


def decode(data: bytes) -> object:
    """One CBOR item that is all of `data`; its outermost map may have indefinite length."""
    if len(data) > MAX_PAYLOAD_BYTES:
        raise _payload_error(0, f"{len(data)} bytes", f"at most {MAX_PAYLOAD_BYTES}")
    indefinite = data[:1] == bytes([INDEFINITE_MAP])
    item, end = _map(data, 1, None, 1) if indefinite else _item(data, 0, 0)
    if end != len(data):
        raise _payload_error(end, f"{len(data) - end} bytes more", "the end")
    return item


def _item(data: bytes, at: int, depth: int) -> tuple[object, int]:
    """The item at byte `at` and where it ends; `depth` maps and arrays are open around it."""
    if data[at : at + 1] == bytes([NULL]):
        return None, at + 1
    major, argument, after = _head(data, at)
    if major == UNSIGNED:
        return argument, after
    if major in (BYTES, TEXT):
        end = after + argument
        if end > len(data):
            raise _payload_error(at, f"a string of {argument} bytes", "one that fits the data")
        return (data[after:end] if major == BYTES else _text(data, after, end)), end
    if major not in (ARRAY, MAP):
        raise _payload_error(at, f"byte 0x{data[at]:02x}", "number, bytes, text, array, map, null")
    if depth == MAX_DEPTH:
        raise _payload_error(at, "deeper nesting", f"at most {MAX_DEPTH} levels")
    if major == MAP:
        return _map(data, after, argument, depth + 1)
    return _array(data, after, argument, depth + 1)


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """(major type, argument, where its content starts); the argument in its shortest form."""
    if at >= len(data):
        raise _payload_error(at, "the end", "another item")
    major, info = data[at] >> 5, data[at] & 31
    if info < 24:
        return major, info, at + 1
    width = {24: 1, 25: 2, 26: 4, 27: 8}.get(info)
    if width is None:
        raise _payload_error(at, f"byte 0x{data[at]:02x}", "a definite length")
    end = at + 1 + width
    argument = int.from_bytes(data[at + 1 : end], "big")
    least = 24 if width == 1 else 1 << 4 * width
    if end > len(data) or argument < least:
        raise _payload_error(at, "a number cut short or too long", "the shortest form")
    return major, argument, end


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[list[object], int]:
    items = []
    for _ in range(count):  # each item takes a byte at least, so a false count ends with the data
        item, at = _item(data, at, depth)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int | None, depth: int) -> tuple[dict[object, object], int]:
    """`count` pairs, or pairs up to a break where it is None."""
    items: dict[object, object] = {}
    while count is None or len(items) < count:
        if count is None and data[at : at + 1] == bytes([BREAK]):
            return items, at + 1
        start = at
        key, at = _item(data, start, MAX_DEPTH)
        if type(key) not in (int, str) or key in items:
            raise _payload_error(start, f"key {key!r:.40}", "a number or text not used before")
        items[key], at = _item(data, at, depth)
    return items, at


def _text(data: bytes, start: int, end: int) -> str:
    try:
        return data[start:end].decode()
    except UnicodeDecodeError:
        raise _payload_error(start, "text that is not utf-8", "utf-8") from None


def _payload_error(at: int, found: str, expected: str) -> VerificationError:
    return VerificationError("payload", found=f"{found} at byte {at}", expected=expected)
