"""AWS Nitro Enclaves, from inside: the module behind /dev/nsm, the parent behind AF_VSOCK.

What the parent may choose ends here: KMS and S3 are spoken to in TLS under the image's own roots,
and an enclave that could not keep a secret, or would believe a false clock, does not start.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from enclave.tee import ECHO_PORT, SERVICE_PORT, ObjectStream, aws, tls
from enclave.tee.channels import Arrival, Vsock
from enclave.tee.nsm import Nsm, Transact, device, timestamp_ms
from enclave.wire.errors import VerificationError
from enclave.wire.manifest import Manifest
from enclave.wire.settings import Settings

PORTS = (SERVICE_PORT, ECHO_PORT)
IMAGE_PCRS = (0, 1, 2)
# Which of its sources of hardware randomness the kernel draws from (hw_random of its admin guide).
ENTROPY_SOURCE = Path("/sys/devices/virtual/misc/hw_random/rng_current")
MODULES_SOURCE = "nsm-hwrng"
MAX_SKEW_S = 300.0


class Channels(Protocol):
    """Ways to and from the parent."""

    write_bytes: int | None

    def dial(self, port: int) -> socket.socket: ...

    def accept(self) -> Iterator[Arrival]: ...


class NitroTee:
    """Tee of a Nitro Enclave; its documents chain to the root of AWS."""

    platform = "aws-nitro"

    def __init__(
        self,
        transact: Transact,
        listen: Callable[[], Channels],
        trust: ssl.SSLContext,
        *,
        entropy_source: Path = ENTROPY_SOURCE,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`now_s` is the kernel's clock. Nobody is listened to before `examine` is satisfied."""
        self._nsm = Nsm(transact)
        examine(self._nsm, entropy_source, now_s)
        self._tls = trust
        channels = listen()
        self.write_bytes = channels.write_bytes
        self.dial = channels.dial
        self.accept = channels.accept
        self.attest = self._nsm.attest

    def measurements(self) -> dict[int, bytes]:
        """PCR0, 1 and 2 as the security module has them."""
        return {index: self._nsm.describe_pcr(index).data for index in IMAGE_PCRS}

    def release_key(
        self, settings: Settings, manifest: Manifest, private_key: RSAPrivateKey, document: bytes
    ) -> bytes:
        """KMS Decrypt with Recipient, in TLS over the parent's relay."""
        recipient = aws.Recipient(document, private_key)
        return aws.release_key(self.dial, settings, manifest, recipient, tls=self._tls)

    def fetch(self, settings: Settings, name: str) -> ObjectStream:
        """S3 GetObject, in TLS over the parent's relay."""
        return aws.fetch(self.dial, settings, name, tls=self._tls)


def open_tee() -> NitroTee:
    """The Tee of the machine this runs on; VerificationError, NsmError or OSError if it is none."""
    return NitroTee(device(), partial(Vsock, PORTS), tls.context())


def examine(
    nsm: Nsm, entropy_source: Path = ENTROPY_SOURCE, now_s: Callable[[], float] = time.time
) -> None:
    """Refuse to start (VerificationError) where a secret would not be one.

    1. The kernel's randomness comes from the security module.
    2. The image's PCRs are not zero: a debug enclave's console can be read by its host.
    3. All PCRs are locked before the first document: nothing extends them any more.
    4. The clock, by which certificates expire, agrees with the module's within five minutes.
    """
    found = entropy_source.read_text("ascii").strip()
    if found != MODULES_SOURCE:  # 1
        hint = "the kernel needs the module's driver (CONFIG_NSM, or nsm.ko)"
        raise VerificationError("entropy", found=repr(found), expected=MODULES_SOURCE, hint=hint)
    zero = [index for index in IMAGE_PCRS if not any(nsm.describe_pcr(index).data)]
    if zero:  # 2
        hint = "run the enclave without --debug-mode"
        raise VerificationError("production", found=f"zero PCRs {zero}", expected="none", hint=hint)
    count = nsm.describe().max_pcrs
    nsm.lock_pcrs(count)  # 3
    if unlocked := sorted(set(range(count)) - nsm.describe().locked_pcrs):
        raise VerificationError("locks", found=f"unlocked PCRs {unlocked}", expected="none")
    skew_s = now_s() - timestamp_ms(nsm.attest()) / 1000
    if abs(skew_s) > MAX_SKEW_S:  # 4
        expected, hint = (
            f"at most {MAX_SKEW_S:.0f} s",
            "let nothing but the hypervisor set the clock",
        )
        raise VerificationError("clock", found=f"{skew_s:.0f} s off", expected=expected, hint=hint)
