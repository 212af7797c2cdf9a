"""The Nitro Security Module, as an enclave asks it: CBOR requests, CBOR responses.

How bytes get there and back is a function: `device()` on hardware, an inherited socket elsewhere.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cbor2

from enclave.wire.errors import LocalProtocolError

MAX_REQUEST_BYTES = 0x1000
MAX_RESPONSE_BYTES = 0x3000
MAX_USER_DATA_BYTES = 512
MAX_NONCE_BYTES = 512
MAX_PUBLIC_KEY_BYTES = 1024

DEVICE = Path("/dev/nsm")
IOCTL = 0xC0200A00  # _IOWR(0x0A, 0, 32 bytes)
ARGUMENT = struct.Struct("<4Q")  # address and length of the request, then of the response

Transact = Callable[[bytes], bytes]
T = TypeVar("T")


class NsmError(Exception):
    """The module refused a request (`code` is its word for why), or its answer makes no sense."""

    def __init__(self, operation: str, code: str) -> None:
        self.operation = operation
        self.code = code
        super().__init__(f"security module, {operation}: {code}")


@dataclass(frozen=True, slots=True)
class Description:
    """What a module says of itself; `version` is (major, minor, patch)."""

    version: tuple[int, int, int]
    module_id: str
    max_pcrs: int
    locked_pcrs: frozenset[int]
    digest: str


@dataclass(frozen=True, slots=True)
class Pcr:
    """A platform configuration register: 48 bytes, extendable until locked."""

    locked: bool
    data: bytes


class Nsm:
    """The module's operations. NsmError where it refuses, LocalProtocolError for a bad request."""

    def __init__(self, transact: Transact) -> None:
        self._transact = transact

    def attest(
        self,
        *,
        public_key: bytes | None = None,
        user_data: bytes | None = None,
        nonce: bytes | None = None,
    ) -> bytes:
        """A signed attestation document over what is given and the locked PCRs."""
        for name, value, most in (
            ("public_key", public_key, MAX_PUBLIC_KEY_BYTES),
            ("user_data", user_data, MAX_USER_DATA_BYTES),
            ("nonce", nonce, MAX_NONCE_BYTES),
        ):
            if value is not None and len(value) > most:
                raise LocalProtocolError(f"{name} of {len(value)} bytes, limit {most}")
        arguments = {"user_data": user_data, "nonce": nonce, "public_key": public_key}
        return self._field("Attestation", arguments, "document", bytes)

    def describe(self) -> Description:
        """The module's version, name and PCRs."""
        fields = self._fields("DescribeNSM", None)

        def take(name: str, kind: type[T]) -> T:
            return _typed("DescribeNSM", fields, name, kind)

        return Description(
            version=(
                take("version_major", int),
                take("version_minor", int),
                take("version_patch", int),
            ),
            module_id=take("module_id", str),
            max_pcrs=take("max_pcrs", int),
            locked_pcrs=_indices(take("locked_pcrs", list)),
            digest=take("digest", str),
        )

    def describe_pcr(self, index: int) -> Pcr:
        """One PCR's value, and whether it is locked."""
        fields = self._fields("DescribePCR", {"index": index})
        locked = _typed("DescribePCR", fields, "lock", bool)
        return Pcr(locked, _typed("DescribePCR", fields, "data", bytes))

    def extend_pcr(self, index: int, data: bytes) -> bytes:
        """Extend a user PCR (16 to 31); its new value, SHA384(old value || data)."""
        return self._field("ExtendPCR", {"index": index, "data": data}, "data", bytes)

    def lock_pcr(self, index: int) -> None:
        """Lock one PCR until the enclave ends."""
        self._done("LockPCR", {"index": index})

    def lock_pcrs(self, count: int) -> None:
        """Lock all PCRs below `count`."""
        self._done("LockPCRs", {"range": count})

    def random(self) -> bytes:
        """Up to 256 random bytes from the hardware."""
        return self._field("GetRandom", None, "random", bytes)

    def _field(
        self, operation: str, arguments: Mapping[str, object] | None, name: str, kind: type[T]
    ) -> T:
        return _typed(operation, self._fields(operation, arguments), name, kind)

    def _fields(
        self, operation: str, arguments: Mapping[str, object] | None
    ) -> Mapping[object, object]:
        response = self._ask(operation, arguments)
        fields = response.get(operation) if type(response) is dict else None
        if type(fields) is not dict:
            raise NsmError(operation, f"no {operation} in the response")
        return fields

    def _done(self, operation: str, arguments: Mapping[str, object]) -> None:
        if self._ask(operation, arguments) != operation:
            raise NsmError(operation, f"the response is not {operation}")

    def _ask(self, operation: str, arguments: Mapping[str, object] | None) -> object:
        request = cbor2.dumps(operation if arguments is None else {operation: arguments})
        if len(request) > MAX_REQUEST_BYTES:
            raise LocalProtocolError(
                f"{operation} of {len(request)} bytes, limit {MAX_REQUEST_BYTES}"
            )
        response = _decode(operation, self._transact(request))
        if type(response) is dict and "Error" in response:
            raise NsmError(operation, str(response["Error"]))
        return response


def timestamp_ms(document: bytes) -> int:
    """When the module says it made a document of its own: milliseconds since 1970.

    Nothing is verified: who has just asked the module believes it. NsmError for no document.
    """
    message = _decode("Attestation", document)
    payload = message[2] if type(message) is list and len(message) == 4 else None
    fields = _decode("Attestation", payload) if type(payload) is bytes else None
    if type(fields) is not dict:
        raise NsmError("Attestation", "the document has no payload")
    return _typed("Attestation", fields, "timestamp", int)


def _decode(operation: str, data: bytes) -> object:
    """Any CBOR encoding will do: modules differ in key order, and are what we trust."""
    try:
        return cbor2.loads(data, max_depth=4, allow_duplicate_keys=False)
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError) as error:
        raise NsmError(operation, f"the response is no cbor: {error}") from error


def _typed(operation: str, fields: Mapping[object, object], name: str, kind: type[T]) -> T:
    value = fields.get(name)
    if type(value) is not kind:
        raise NsmError(operation, f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value


def _indices(values: list[object]) -> frozenset[int]:
    indices = [value for value in values if type(value) is int]
    if len(indices) != len(values):
        raise NsmError("DescribeNSM", "locked_pcrs holds something else than indices")
    return frozenset(indices)


def device(
    path: Path = DEVICE, ioctl: Callable[[int, int, bytearray], object] = fcntl.ioctl
) -> Transact:
    """Requests over the kernel driver, which is opened for each. OSError where it fails."""

    def transact(request: bytes) -> bytes:
        asked = ctypes.create_string_buffer(request, len(request))
        answer = ctypes.create_string_buffer(MAX_RESPONSE_BYTES)
        addresses = ctypes.addressof(asked), ctypes.addressof(answer)
        argument = bytearray(ARGUMENT.pack(addresses[0], len(request), addresses[1], len(answer)))
        try:
            with path.open("r+b", buffering=0) as file:
                ioctl(file.fileno(), IOCTL, argument)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                raise NsmError("ioctl", "InputTooLarge") from error
            raise
        length = ARGUMENT.unpack(argument)[3]  # the driver writes the true length back
        if length > len(answer):
            raise NsmError("ioctl", f"a response of {length} bytes, limit {len(answer)}")
        return answer.raw[:length]

    return transact
