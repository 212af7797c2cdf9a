"""What kind of file this is, by its first bytes."""

from __future__ import annotations

from enum import Enum

from bench.verify import nitro
from bench.verify.compliance import bundle

TAG = b"\xd2\x84"  # COSE_Sign1, tagged
EVIDENCE_HEAD = b"\xa2\x65boots"  # a map of two whose first key is this one
BUNDLE_HEAD = b"\x64kind\x78" + bytes([len(bundle.KIND)]) + bundle.KIND.encode()[:16]
JWT_HEAD = b"eyJ"  # {" in base64url
MARKS = {
    b"application/confbench-manifest": "manifest",
    b"application/confbench-statement": "statement",
}
HEAD_BYTES = 64  # tag, array and protected header of a message


class Kind(Enum):
    """What can be judged."""

    DOCUMENT = "attestation document"
    TOKEN = "attestation token"
    RECEIPT = "air v1 receipt"
    STATEMENT = "session statement"
    MANIFEST = "signed manifest"
    EVIDENCE = "evidence of records"
    BUNDLE = "compliance bundle"
    MEASUREMENTS = "measurements"
    POLICY = "key policy"


def recognise(data: bytes) -> Kind | None:
    """What kind of file this is. Loose on purpose: a damaged file is still one of its kind."""
    head = data[:HEAD_BYTES]
    if data.startswith(EVIDENCE_HEAD):
        return Kind.EVIDENCE
    if BUNDLE_HEAD in head:
        return Kind.BUNDLE
    if data.lstrip()[: len(JWT_HEAD)] == JWT_HEAD:
        return Kind.TOKEN
    if head[:1] == b"\x84":
        return Kind.DOCUMENT
    if head[:2] == TAG:
        return _signed(head)
    if data[:4096].lstrip()[:1] == b"{":
        if b'"Statement"' in data:
            return Kind.POLICY
        return Kind.MEASUREMENTS if b'"enclave_digest"' in data and b'"pcrs"' in data else None
    return None


def _signed(head: bytes) -> Kind:
    """A message of whom: a security module, a model's owner, or an enclave."""
    if nitro.PROTECTED in head[:8]:
        return Kind.DOCUMENT
    for kind, mark in (
        (Kind.MANIFEST, b"confbench-manifest"),
        (Kind.STATEMENT, b"confbench-statement"),
    ):
        if mark in head:
            return kind
    return Kind.RECEIPT
