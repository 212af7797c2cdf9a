"""The local platform, from inside: an emulated NSM on an inherited socket, parent on Unix sockets.

The same code as on hardware speaks to it: NSM requests in CBOR, KMS and S3 through boto3.
"""

from __future__ import annotations

import socket
import struct
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from enclave.tee import ECHO_PORT, SERVICE_PORT, ObjectStream, aws
from enclave.tee.channels import HybridVsock, Vsock
from enclave.tee.nsm import Nsm
from enclave.tee.patience import Patience
from enclave.wire.manifest import Manifest
from enclave.wire.settings import Settings

MAX_NSM_RESPONSE_BYTES = 0x3000
PCR_COUNT = 32


class LocalTee:
    """Tee of an emulated enclave; its documents chain to the emulator's root."""

    platform = "local"

    def __init__(self, nsm: int, kind: str, *place: str) -> None:
        """`nsm` is an inherited descriptor; `unix DESCRIPTOR FOLDER` or `vsock CID OFFSET`."""
        self.patience = Patience()
        self._channels = _channels(kind, *place)
        self._nsm_stream = socket.socket(fileno=nsm)
        self._nsm_lock = threading.Lock()
        self._nsm = Nsm(self._transact)
        self._nsm.lock_pcrs(PCR_COUNT)  # before the first document: nothing extends them any more
        self.write_bytes = self._channels.write_bytes
        self.dial = self._channels.dial
        self.accept = self._channels.accept
        self.attest = self._nsm.attest

    def close(self) -> None:
        """Let go of the security module and of whoever might still dial."""
        self._nsm_stream.close()
        self._channels.close()

    def measurements(self) -> dict[int, bytes]:
        """PCR0, 1 and 2 as the security module has them."""
        return {index: self._nsm.describe_pcr(index).data for index in (0, 1, 2)}

    def release_key(
        self, settings: Settings, manifest: Manifest, private_key: RSAPrivateKey, document: bytes
    ) -> bytes:
        """KMS Decrypt with Recipient, over the parent's relay; plain HTTP, an emulator."""
        recipient = aws.Recipient(document, private_key)
        return aws.release_key(
            self.dial, settings, manifest, recipient, tls=None, patience=self.patience
        )

    def fetch(self, settings: Settings, name: str) -> ObjectStream:
        """S3 GetObject, over the parent's relay."""
        return aws.fetch(self.dial, settings, name, tls=None)

    def _transact(self, request: bytes) -> bytes:
        with self._nsm_lock:
            self._nsm_stream.sendall(struct.pack(">I", len(request)) + request)
            (length,) = struct.unpack(">I", self._read(4))
            if length > MAX_NSM_RESPONSE_BYTES:
                raise OSError(f"nsm response of {length} bytes, limit {MAX_NSM_RESPONSE_BYTES}")
            return self._read(length)

    def _read(self, count: int) -> bytes:
        data = self._nsm_stream.recv(count, socket.MSG_WAITALL)
        if len(data) != count:
            raise OSError("the security module hung up")
        return data


def _channels(kind: str, first: str, second: str) -> HybridVsock | Vsock:
    ports = (SERVICE_PORT, ECHO_PORT)
    if kind == "vsock":
        return Vsock(ports, parent_cid=int(first), offset=int(second))
    if kind == "unix":
        return HybridVsock(socket.socket(fileno=int(first)), Path(second), ports)
    raise SystemExit(f"error: channel {kind!r}, expected unix or vsock")
