"""What a compliance bundle is asked: the security properties of the milestone report (its section
5, and 3 for what is fresh in every cycle), and what follows from them here.

That report proves by presence: a field is there, so the property holds. Here each property has a
check that can fail, and what no check could fail is printed as not proven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Property:
    """`rests` names the properties without which nothing can be said of this one.

    `vouched`: it is a security module or key service that says so, or an emulator of one.
    `acceptance`: where it fails, the evidence may still be genuine: of something else than wanted.
    """

    id: str
    text: str
    how: str
    rests: tuple[str, ...] = ()
    vouched: bool = True
    acceptance: bool = False


PROPERTIES = (
    Property(
        "attestation",
        "Attestation in every session",
        "each document's signature and certificates up to the one root, at the document's own time",
    ),
    Property(
        "hardware",
        "Isolation by hardware",
        "the root is the one that AWS publishes, and the image was built for that platform",
        ("attestation",),
    ),
    Property(
        "image",
        "Measured image, no debug mode",
        "each document's PCR0, 1 and 2 are those that the build measured, and none is zero",
        ("attestation",),
        acceptance=True,
    ),
    Property(
        "challenge",
        "Fresh attestation in every session",
        "each document repeats its client's 32-byte challenge; no two challenges are alike",
        ("attestation",),
    ),
    Property(
        "transport",
        "Transport encryption: HPKE, X25519, ChaCha20-Poly1305",
        "each document names confbench/1, which has this suite alone, and a sound key of its own",
        ("attestation",),
    ),
    Property(
        "boots",
        "Keys of its own in every boot",
        "the attested receipt key is one within a boot, and in no other boot",
        ("transport",),
    ),
    Property(
        "receipts",
        "Receipt signing: Ed25519 on all receipts",
        "each receipt's signature by the attested key; it names document, challenge and PCRs",
        ("transport",),
    ),
    Property(
        "completeness",
        "All receipts kept",
        "numbered from 0, no id twice, and chained under signed statements that state how many",
        ("receipts",),
    ),
    Property(
        "model",
        "Model integrity: SHA-256 against the manifest",
        "the owner signed the manifest; each receipt names its model, version and weights",
        ("receipts",),
    ),
    Property(
        "immutability",
        "Model objects unchanged across boots",
        "each document attests this manifest, under which alone the sealed chunks open",
        ("model",),
    ),
    Property(
        "key-release",
        "KMS-gated key release in every boot",
        "each boot's signed stages: measured code attested, then had a key released; it opens the "
        "model with the key that the manifest commits to and no other",
        ("completeness", "image"),
    ),
    Property(
        "key-policy",
        "The key opens for this image alone",
        "the linter finds no error in the policy; who may decrypt has to attest this PCR0",
        vouched=False,
        acceptance=True,
    ),
    Property(
        "settings",
        "The host's settings attested",
        "one settings digest in all documents of a measuring job, and the same in each receipt",
        ("receipts",),
    ),
    Property(
        "records",
        "The numbers are those the enclave committed to",
        "each boot's digest of its record lines stands in a signed statement of that boot",
        ("completeness",),
    ),
    Property(
        "anchors",
        "The root, owner and image that the reviewer trusts",
        "root, owner and PCRs of the bundle are those given from outside",
        vouched=False,
        acceptance=True,
    ),
)

# What would have to be taken on faith, each with the reason.
UNPROVABLE: Mapping[str, tuple[str, str]] = {
    "zeroization": (
        "Data zeroization",
        "Python cannot wipe memory, and a receipt that lists wiping proves that it lists it",
    ),
    "policy-in-force": (
        "The key service enforces that policy",
        "nobody signs what the service enforces; its audit log would show it",
    ),
    "all-sessions": (
        "Every session of the run is here",
        "each session is whole in itself, but nothing signed ties one to the next",
    ),
    "time": (
        "Time of receipts and attestation",
        "the enclave's clock can be influenced by its host, and what is archived is judged at its "
        "own time",
    ),
    "model-freshness": (
        "The newest model",
        "no memory survives an enclave, so an older model of the same owner looks the same",
    ),
    "side-channels": (
        "No side channels",
        "timing, sizes of requests and the micro-architecture of a shared host leave no trace here",
    ),
    "host-blindness": (
        "The host saw nothing but ciphertext",
        "a bundle holds no traffic and no memory of the host; tests of the protocol speak for it",
    ),
}
