"""Settings: the closed set of things a host may choose for an enclave at boot.

They are not measured, so their digest stands in every attestation document and the client compares
it. Credentials are the host's own and are left out of the digest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from hashlib import sha256

from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError

MAX_BYTES = 16 * 1024
SECRET = ("access_key_id", "secret_access_key", "session_token")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the host hands in on port SETTINGS. `threads` is the vCPU count used by inference."""

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
        kinds = {"threads": int, "sessions": int, "echo": bool}
        for name, value in values.items():
            if type(value) is not kinds.get(str(name), str):
                raise RemoteProtocolError(f"setting {name} has the wrong type")
        if not (1 <= values["threads"] <= 1024 and 1 <= values["sessions"] <= 4096):
            raise RemoteProtocolError("threads or sessions are out of range")
        return cls(**values)


NAMES = tuple(field.name for field in fields(Settings))
