"""An emulated Nitro Security Module: the requests of `/dev/nsm`, answered in software.

It signs real documents, under a root that names itself emulated. Values and limits are those of
the NSM API; the order of fields and the indefinite-length map are those of genuine documents.
"""

from __future__ import annotations

import secrets
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha384

import cbor2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from bench.emulators import pki
from bench.verify import IMAGE_PCRS, PCR_BYTES, PCR_COUNT
from bench.verify.document import decode
from bench.verify.nitro import INSTANCE_PCR, MODULE_ID, PROTECTED
from enclave.wire import cose
from enclave.wire.errors import VerificationError

MAX_REQUEST_BYTES = 0x1000
RANDOM_BYTES = 256
ROLE_PCR, SIGNER_PCR = 3, 8
BOOT_PCRS = 16  # locked before the enclave runs; the others are the user's
VERSION = {"version_major": 1, "version_minor": 0, "version_patch": 0}
ATTESTATION_LIMITS = {"user_data": 512, "nonce": 512, "public_key": 1024}
RENEWAL = timedelta(minutes=10)  # a chain with less life left is not used for a new document

Request = Mapping[str, object]


class RefusalError(Exception):
    """An error of the NSM API, by the API's name for it."""


class NsmEmulator:
    """One enclave's security module.

    `pcrs` are those of the image (0, 1, 2; 8 where it is signed), 48 bytes each. PCR3 measures
    `role_arn`, PCR4 the instance that `module_id` (i-...-enc...) names. `debug` measures the image
    as zero, as a debug enclave's module does. `indefinite_map` writes the payload as modules do
    since 2025. `now` gives an aware time.
    """

    def __init__(
        self,
        pcrs: Mapping[int, bytes],
        root: pki.Authority,
        now: Callable[[], datetime],
        module_id: str,
        *,
        role_arn: str | None = None,
        debug: bool = False,
        indefinite_map: bool = True,
    ) -> None:
        self._root = root
        self._now = now
        self._module_id = module_id
        self._indefinite_map = indefinite_map
        self._pcrs = boot_pcrs(pcrs, module_id, role_arn, debug=debug)
        self._locked = set(range(BOOT_PCRS))
        self._chain: pki.Chain | None = None
        self._commands: dict[str, Callable[[], object]] = {
            "DescribeNSM": self._describe,
            "GetRandom": lambda: {"random": secrets.token_bytes(RANDOM_BYTES)},
        }
        self._operations: dict[str, Callable[[Request], object]] = {
            "DescribePCR": self._describe_pcr,
            "ExtendPCR": self._extend_pcr,
            "LockPCR": self._lock_pcr,
            "LockPCRs": self._lock_pcrs,
            "Attestation": self._attest,
        }

    def transact(self, request: bytes) -> bytes:
        """One CBOR request to one CBOR response; whatever is wrong is an answer, never an error."""
        try:
            return cbor2.dumps(self._answer(request))
        except RefusalError as refusal:
            return cbor2.dumps({"Error": str(refusal)})

    def _answer(self, request: bytes) -> object:
        name, arguments = _read_request(request)
        if arguments is None:
            command = self._commands.get(name)
            if command is None:
                raise RefusalError("InvalidOperation")
            return {name: command()}
        operation = self._operations.get(name)
        if operation is None:
            raise RefusalError("InvalidOperation")
        response = operation(arguments)
        return name if response is None else {name: response}

    def _describe(self) -> object:
        return {
            **VERSION,
            "module_id": self._module_id,
            "max_pcrs": PCR_COUNT,
            "locked_pcrs": sorted(self._locked),
            "digest": "SHA384",
        }

    def _describe_pcr(self, arguments: Request) -> object:
        index = _index(arguments)
        return {"lock": index in self._locked, "data": self._pcrs[index]}

    def _extend_pcr(self, arguments: Request) -> object:
        index = self._unlocked(arguments)
        data = arguments.get("data")
        if type(data) is not bytes:
            raise RefusalError("InvalidOperation")
        self._pcrs[index] = sha384(self._pcrs[index] + data).digest()
        return {"data": self._pcrs[index]}

    def _lock_pcr(self, arguments: Request) -> None:
        self._locked.add(self._unlocked(arguments))

    def _lock_pcrs(self, arguments: Request) -> None:
        count = arguments.get("range")
        if type(count) is not int:
            raise RefusalError("InvalidOperation")
        if not 0 <= count <= PCR_COUNT:
            raise RefusalError("InvalidIndex")
        self._locked |= set(range(count))

    def _unlocked(self, arguments: Request) -> int:
        index = _index(arguments)
        if index in self._locked:
            raise RefusalError("ReadOnlyIndex")
        return index

    def _attest(self, arguments: Request) -> object:
        bound = {name: arguments.get(name) for name in ("public_key", "user_data", "nonce")}
        for name, value in bound.items():
            if type(value) not in (bytes, type(None)):
                raise RefusalError("InvalidOperation")
            if isinstance(value, bytes) and len(value) > ATTESTATION_LIMITS[name]:
                raise RefusalError("InputTooLarge")
        if bound["public_key"] == b"":
            raise RefusalError("InvalidArgument")
        now = self._now()
        chain = self._valid_chain(now)
        fields: dict[str, object] = {
            "module_id": self._module_id,
            "digest": "SHA384",
            "timestamp": int(now.timestamp() * 1000),
            "pcrs": {index: self._pcrs[index] for index in sorted(self._locked)},
            "certificate": chain.certificate,
            "cabundle": list(chain.cabundle),
            **bound,
        }
        payload = encode_payload(fields, indefinite_map=self._indefinite_map)
        return {"document": sign(payload, chain.key)}

    def _valid_chain(self, now: datetime) -> pki.Chain:
        if self._chain is None or now > self._chain.not_after - RENEWAL:
            self._chain = pki.chain(self._root, self._module_id, now)
        return self._chain


def boot_pcrs(
    image: Mapping[int, bytes], module_id: str, role_arn: str | None, *, debug: bool
) -> list[bytes]:
    """The 32 PCRs of a freshly started enclave; ValueError for a PCR that no image has."""
    if not set(IMAGE_PCRS) <= set(image) <= {*IMAGE_PCRS, SIGNER_PCR}:
        raise ValueError(f"an image has PCR 0, 1, 2 and perhaps 8, not {sorted(image)}")
    if any(len(value) != PCR_BYTES for value in image.values()):
        raise ValueError(f"a PCR has {PCR_BYTES} bytes")
    named = MODULE_ID.fullmatch(module_id)
    if named is None:
        raise ValueError(f"module id {module_id!r} is not i-<hex>-enc<hex>")
    pcrs = [bytes(PCR_BYTES)] * PCR_COUNT
    for index, value in image.items():
        pcrs[index] = bytes(PCR_BYTES) if debug and index in IMAGE_PCRS else value
    if role_arn is not None:
        pcrs[ROLE_PCR] = measure(role_arn)
    pcrs[INSTANCE_PCR] = measure(named[1])
    return pcrs


def measure(text: str) -> bytes:
    """A fresh PCR extended once with a text."""
    return sha384(bytes(PCR_BYTES) + text.encode()).digest()


def encode_payload(fields: Mapping[str, object], *, indefinite_map: bool) -> bytes:
    """The payload in CBOR, fields in the order given."""
    if not indefinite_map:
        return cbor2.dumps(fields)
    pairs = b"".join(cbor2.dumps(name) + cbor2.dumps(value) for name, value in fields.items())
    return b"\xbf" + pairs + b"\xff"


def sign(payload: bytes, key: EllipticCurvePrivateKey) -> bytes:
    """An untagged COSE_Sign1 message, ES384: r and s as 48 bytes each."""
    signature = key.sign(cose.signature_input(PROTECTED, payload), ECDSA(SHA384()))
    raw = b"".join(number.to_bytes(48, "big") for number in decode_dss_signature(signature))
    return cbor2.dumps([PROTECTED, {}, payload, raw])


def serve(nsm: NsmEmulator, stream: socket.socket) -> None:
    """Answer requests until the enclave hangs up; each is its length (u32, big endian) and bytes.

    A request over the device's limit is answered and ends the stream, since what follows it cannot
    be told from its rest.
    """
    while head := _receive(stream, 4):
        (length,) = struct.unpack(">I", head)
        if length > MAX_REQUEST_BYTES:
            _send(stream, cbor2.dumps({"Error": "InputTooLarge"}))
            return
        request = _receive(stream, length)
        if len(request) != length:
            return
        _send(stream, nsm.transact(request))


def _receive(stream: socket.socket, count: int) -> bytes:
    """`count` bytes, or none where the stream ended or broke before them."""
    data = b""
    while len(data) < count:
        try:
            part = stream.recv(count - len(data))
        except ConnectionError:
            part = b""
        if not part:
            return b""
        data += part
    return data


def _send(stream: socket.socket, response: bytes) -> None:
    with suppress(ConnectionError):  # the enclave is gone, which the next read finds out
        stream.sendall(struct.pack(">I", len(response)) + response)


def _index(arguments: Request) -> int:
    index = arguments.get("index")
    if type(index) is not int:
        raise RefusalError("InvalidOperation")
    if not 0 <= index < PCR_COUNT:
        raise RefusalError("InvalidIndex")
    return index


def _read_request(request: bytes) -> tuple[str, Request | None]:
    """(name, None) of a command, (name, arguments) of an operation."""
    if len(request) > MAX_REQUEST_BYTES:
        raise RefusalError("InputTooLarge")
    try:
        value = decode(request)
    except VerificationError:
        raise RefusalError("InvalidOperation") from None
    if type(value) is str:
        return value, None
    if type(value) is dict and len(value) == 1:
        ((name, arguments),) = value.items()
        if type(name) is str and type(arguments) is dict:
            return name, arguments
    raise RefusalError("InvalidOperation")
