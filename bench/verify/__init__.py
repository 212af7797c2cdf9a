"""Bytes to trust: what a verifier insists on (`Policy`), what evidence says (`Document`), and
evidence that was accepted (`Attested`).

*Authentic* and *acceptable* are separate results: a debug enclave's document has a perfect
signature. `Document` is made by `authenticate` alone, `Attested` by `accept` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from enclave.wire.errors import VerificationError

# SHA-256 of the DER of AWS Nitro Enclaves root G1 (CN=aws.nitro-enclaves, 2019 to 2049). The
# checksum that AWS prints beside the download is of the archive, not of the certificate.
AWS_ROOT_SHA256 = bytes.fromhex("641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b")

PCR_BYTES = 48  # SHA-384
PCR_COUNT = 32
IMAGE_PCRS = (0, 1, 2)  # the whole image; kernel, cmdline and first ramdisk; other ramdisks


@dataclass(frozen=True, slots=True)
class Policy:
    """What a verifier insists on. VerificationError for a policy that would protect nothing.

    `root_der` is the one certificate that is trusted, `root_sha256` its pinned digest. Every PCR
    named must be in the document and equal; PCR0, 1 and 2 must be named (PCR8 alone would accept
    any image of its signer, old ones too). A root other than AWS's is an emulator's, and is refused
    unless `emulated` says so. `allow_debug` lets zero or missing PCRs stand, for debugging alone.
    """

    root_sha256: bytes
    root_der: bytes
    pcrs: Mapping[int, bytes]
    max_age_s: int = 300
    skew_s: int = 60
    emulated: bool = False
    allow_debug: bool = False

    def __post_init__(self) -> None:
        found = sha256(self.root_der).digest()
        if found != self.root_sha256:
            raise VerificationError(
                "policy root",
                found=found.hex(),
                expected=self.root_sha256.hex(),
                hint="pin the digest of the certificate's DER",
            )
        if self.emulated is (found == AWS_ROOT_SHA256):
            raise VerificationError(
                "policy emulated",
                found=f"emulated={self.emulated} with root {found.hex()}",
                expected="emulated=False with the AWS root, emulated=True with any other",
                hint="a root that is not AWS's can vouch for emulators only, and has to say so",
            )
        for index, value in self.pcrs.items():
            self._check_pcr(index, value)
        missing = [index for index in IMAGE_PCRS if index not in self.pcrs]
        if missing and not self.allow_debug:
            raise VerificationError(
                "policy pcrs",
                found=f"no pcr {', '.join(map(str, missing))}",
                expected="pcr 0, 1 and 2",
                hint="take them from the image's measurements.json",
            )

    def _check_pcr(self, index: int, value: bytes) -> None:
        if type(index) is not int or not 0 <= index < PCR_COUNT or len(value) != PCR_BYTES:
            raise VerificationError(
                "policy pcrs",
                found=f"pcr {index} of {len(value)} bytes",
                expected=f"an index of 0 to {PCR_COUNT - 1} and {PCR_BYTES} bytes",
            )
        if not any(value) and not self.allow_debug:
            raise VerificationError(
                "policy pcrs",
                found=f"pcr {index} is zero",
                expected="a measurement",
                hint="a debug enclave measures as zero: such a policy would accept any image",
            )


@dataclass(frozen=True, slots=True)
class Document:
    """An authentic attestation document: a security module said this. Whether to believe the
    enclave behind it is for `accept` to say.

    `timestamp_ms` since the epoch by the hypervisor's clock; `certificate` and `cabundle` DER, root
    first; `payload_sha256` names the document (its ECDSA signature can be changed into another
    valid one, so a digest of the whole cannot).
    """

    module_id: str
    timestamp_ms: int
    digest: str
    pcrs: Mapping[int, bytes]
    certificate: bytes
    cabundle: tuple[bytes, ...]
    public_key: bytes | None
    user_data: bytes | None
    nonce: bytes | None
    payload_sha256: bytes


@dataclass(frozen=True, slots=True)
class Attested:
    """A document that a policy accepted. `emulated`: it vouches for an emulator, on `platform`."""

    document: Document
    platform: str
    emulated: bool
