"""Deterministic CBOR (RFC 8949 section 4.2.1): every value has one encoding, and only that is read.

Rule of the file: what `decode` accepts, `encode` writes back byte for byte. It is written out here
because general decoders read tags, shared references, indefinite lengths and duplicate keys.

CBOR                    Python
unsigned, negative      int, -2**64 to 2**64 - 1
byte string             bytes (bytearray and memoryview can be written)
text string             str
array                   list (tuple can be written)
map                     dict (any Mapping can be written); its keys are int, str or bytes
false, true, null       bool, None
float                   float, finite, in the shortest of the three widths that keeps the value
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

# Major types, RFC 8949 section 3.1.
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _OTHER = range(8)

_SHORT = [bytes((initial,)) for initial in range(256)]
_WIDTHS = [struct.Struct(f">B{code}") for code in "BHIQ"]  # initial byte, argument of 1 to 8 bytes
_LEAST = (24, 1 << 8, 1 << 16, 1 << 32)  # the smallest argument that needs each width

_FLOATS = [(0xF9, struct.Struct(">e")), (0xFA, struct.Struct(">f")), (0xFB, struct.Struct(">d"))]
_SIMPLE: dict[object, bytes] = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}
_SIMPLE_READ: dict[int, object] = {0xF4: False, 0xF5: True, 0xF6: None}


class Encoded(NamedTuple):
    """An item that `encode` has made before, to be written as it is."""

    item: bytes


def encode(value: object) -> bytes:
    """The one encoding of a value; LocalProtocolError for what the table above does not hold."""
    parts: list[bytes] = []
    _write(value, parts)
    return b"".join(parts)


def decode(
    data: bytes | bytearray | memoryview, *, max_bytes: int = 65536, max_depth: int = 6
) -> object:
    """The value whose one encoding is `data`; RemoteProtocolError whatever else it is.

    `max_depth` counts arrays and maps within one another. Memory is bounded by `max_bytes`: no
    length is believed before its bytes are there.
    """
    if len(data) > max_bytes:
        raise RemoteProtocolError(f"cbor of {len(data)} bytes, limit {max_bytes}")
    data = bytes(data)
    value, end = _read(data, 0, max_depth)
    if end != len(data):
        raise RemoteProtocolError(f"cbor ends at byte {end}, {len(data) - end} more follow")
    return value


def _head(major: int, argument: int) -> bytes:
    """Initial byte and argument in the shortest form (RFC 8949 section 4.2.1)."""
    if argument < 24:
        return _SHORT[major << 5 | argument]
    for step, width in enumerate(_WIDTHS):
        if argument < 1 << (8 << step):
            return width.pack(major << 5 | 24 + step, argument)
    raise LocalProtocolError("cbor integers end at 64 bits")


def _write(value: object, parts: list[bytes]) -> None:
    if type(value) is bytes:
        parts += (_head(_BYTES, len(value)), value)
    elif type(value) is str:
        text = _utf8(value)
        parts += (_head(_TEXT, len(text)), text)
    elif type(value) is int:
        parts.append(_head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value))
    elif type(value) is Encoded:
        parts.append(value.item)
    elif type(value) is dict:
        _write_map(value, parts)
    elif isinstance(value, (bytearray, memoryview)):
        string = bytes(value)
        parts += (_head(_BYTES, len(string)), string)
    elif isinstance(value, Mapping):
        _write_map(value, parts)
    elif isinstance(value, (list, tuple)):
        parts.append(_head(_ARRAY, len(value)))
        for item in value:
            _write(item, parts)
    elif type(value) is float:
        parts.append(_float(value))
    elif value is None or type(value) is bool:
        parts.append(_SIMPLE[value])
    else:
        raise LocalProtocolError(f"cbor has no {type(value).__name__} here")


def _write_map(value: Mapping[object, object], parts: list[bytes]) -> None:
    entries = [(_key(key), item) for key, item in value.items()]
    entries.sort(key=itemgetter(0))  # bytewise order of the encoded keys
    parts.append(_head(_MAP, len(entries)))
    for encoded, item in entries:
        parts.append(encoded)
        _write(item, parts)


@lru_cache(maxsize=1024, typed=True)  # the keys of our own messages, over and over
def _key(key: object) -> bytes:
    if type(key) not in (int, str, bytes):
        raise LocalProtocolError(f"a map key is no {type(key).__name__}")
    return encode(key)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LocalProtocolError("text with a lone surrogate has no encoding") from error


def _float(value: float) -> bytes:
    """The shortest of half, single and double that holds the very value."""
    if not math.isfinite(value):
        raise LocalProtocolError("floats are finite here")
    for initial, width in _FLOATS:
        try:
            packed = width.pack(value)
        except OverflowError:
            continue
        if width.unpack(packed)[0] == value:
            return _SHORT[initial] + packed
    raise AssertionError("a double holds every float")


def _read(data: bytes, at: int, depth: int) -> tuple[object, int]:
    """The item that starts at byte `at`, and where it ends."""
    if at >= len(data):
        raise RemoteProtocolError("cbor ends too early")
    major = data[at] >> 5
    if major == _OTHER:
        return _read_other(data, at)
    argument, after = _read_argument(data, at)
    if major == _UNSIGNED:
        return argument, after
    if major == _NEGATIVE:
        return -1 - argument, after
    if major in (_BYTES, _TEXT):
        end = after + argument
        if end > len(data):
            raise RemoteProtocolError("cbor ends too early")
        string = data[after:end]
        return (string if major == _BYTES else _text(string)), end
    if major == _TAG:
        raise RemoteProtocolError(f"cbor tag at byte {at}: tags are refused")
    if depth == 0:
        raise RemoteProtocolError(f"cbor is nested too deeply at byte {at}")
    read = _read_array if major == _ARRAY else _read_map
    return read(data, after, argument, depth - 1)


def _read_argument(data: bytes, at: int) -> tuple[int, int]:
    info = data[at] & 31
    if info < 24:
        return info, at + 1
    if info > 27:  # 28 to 30 are reserved, 31 is an indefinite length
        raise RemoteProtocolError(f"cbor at byte {at}: indefinite or reserved length")
    end = at + 1 + (1 << info - 24)
    if end > len(data):
        raise RemoteProtocolError("cbor ends too early")
    argument = int.from_bytes(data[at + 1 : end], "big")
    if argument < _LEAST[info - 24]:
        raise RemoteProtocolError(f"cbor at byte {at}: not the shortest form")
    return argument, end


def _read_array(data: bytes, at: int, count: int, depth: int) -> tuple[list[object], int]:
    items = []
    for _ in range(count):  # each item takes a byte, so a false count ends with the data
        item, at = _read(data, at, depth)
        items.append(item)
    return items, at


def _read_map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[object, object], int]:
    items: dict[object, object] = {}
    before = b""
    for _ in range(count):
        start = at
        key, at = _read(data, start, 0)
        encoded = data[start:at]
        if type(key) not in (int, str, bytes):
            raise RemoteProtocolError(f"cbor at byte {start}: a map key is no int, str or bytes")
        if encoded <= before:
            raise RemoteProtocolError(f"cbor at byte {start}: map key out of order or repeated")
        before = encoded
        items[key], at = _read(data, at, depth)
    return items, at


def _read_other(data: bytes, at: int) -> tuple[object, int]:
    initial = data[at]
    if initial in _SIMPLE_READ:
        return _SIMPLE_READ[initial], at + 1
    for known, width in _FLOATS:
        end = at + 1 + width.size
        if initial == known and end <= len(data):
            value = width.unpack_from(data, at + 1)[0]
            if math.isfinite(value) and _float(value) == data[at:end]:
                return value, end
    raise RemoteProtocolError(f"cbor at byte {at}: unknown, cut or longer than its value needs")


def _text(string: bytes) -> str:
    try:
        return string.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("cbor text is not utf-8") from None
