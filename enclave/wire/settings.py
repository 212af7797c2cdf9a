"""Settings: the closed set of things a host may choose for an enclave at boot.

They are not measured, so their digest stands in every attestation document and the client compares
it. Credentials are the host's own and are left out of the digest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from hashlib import sha256

from enclave.wire import cbor
from enclave.wire.bounds import Bounds
from enclave.wire.errors import RemoteProtocolError

MAX_BYTES = 16 * 1024
BOUNDS = {
    "threads": Bounds(int, 1, 1024),
    "batch": Bounds(int, 1, 64),
    "sessions": Bounds(int, 1, 4096),
    "half_open": Bounds(int, 1, 4096),
    "handshake_seconds": Bounds(int, 1, 3600),
    "idle_seconds": Bounds(int, 1, 24 * 3600),
    "session_seconds": Bounds(int, 1, 24 * 3600),
    "response_bucket_bytes": Bounds(int, 0, 1 << 20),
}
TEXT = Bounds(str, 0, 4096)
DEVICES = ("cpu", "cuda")
SECRET = ("access_key_id", "secret_access_key", "session_token")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the host hands in on port SETTINGS.

    `threads` is the vCPU count used by inference, and up to `batch` texts of requests that wait at
    the same time are computed as one; `sessions` is how many may be open at a time, `half_open` how
    many more may be on the way there, for `handshake_seconds` in all. A session that asks nothing
    for `idle_seconds` expires, and any session after `session_seconds`. The size of what the
    enclave answers is rounded up to a multiple of `response_bucket_bytes`; 0 leaves it as it is.
    `device` is what computes, one of DEVICES.
    """

    kms_endpoint: str
    objects_endpoint: str
    region: str
    bucket: str
    prefix: str
    threads: int
    sessions: int
    echo: bool
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    half_open: int = field(default=32, kw_only=True)
    handshake_seconds: int = field(default=10, kw_only=True)
    idle_seconds: int = field(default=600, kw_only=True)
    session_seconds: int = field(default=3600, kw_only=True)
    response_bucket_bytes: int = field(default=0, kw_only=True)
    batch: int = field(default=1, kw_only=True)
    device: str = field(default="cpu", kw_only=True)

    def encode(self) -> bytes:
        return cbor.encode({name: getattr(self, name) for name in NAMES})

    def digest(self) -> bytes:
        """SHA-256 over everything but the credentials."""
        public = {name: getattr(self, name) for name in NAMES if name not in SECRET}
        return sha256(cbor.encode(public)).digest()

    @classmethod
    def decode(cls, data: bytes | bytearray) -> Settings:
        """RemoteProtocolError unless exactly these settings with these types stand there."""
        values = cbor.decode(bytes(data), max_bytes=MAX_BYTES)
        if type(values) is not dict or set(values) != set(NAMES):
            raise RemoteProtocolError("settings are not the closed set this enclave knows")
        if type(values["echo"]) is not bool:
            raise RemoteProtocolError("setting echo is no bool")
        if values["device"] not in DEVICES:
            raise RemoteProtocolError(f"setting device: expected one of {', '.join(DEVICES)}")
        for name in NAMES:
            if name != "echo" and (fault := BOUNDS.get(name, TEXT).fault(values[name])):
                raise RemoteProtocolError(f"setting {name}: {fault}")
        return cls(**values)


NAMES = tuple(field.name for field in fields(Settings))
