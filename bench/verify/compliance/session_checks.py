"""Checks of what every session left behind: document, keys, receipts, statements."""

from __future__ import annotations

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from bench.verify import IMAGE_PCRS, Policy, nitro
from bench.verify.compliance.walk import Found, Seen, Walk, everywhere, same, unlike
from bench.verify.sessions import statements
from enclave.wire import hpke, receipt
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.messages import CHALLENGE_BYTES, Claims

ANY_X25519 = X25519PrivateKey.from_private_bytes(bytes(range(32)))  # to try a public key with


def attestation(walk: Walk) -> Found:
    def check(seen: Seen) -> None:
        now = nitro.claimed_time(seen.left.document)
        seen.document = nitro.authenticate(seen.left.document, root=walk.bundle.root, now=now)

    everywhere(walk, check)
    digest = sha256(walk.bundle.root).hexdigest()
    return Found(len(walk.sessions), f"documents under the root {digest}")


def hardware(walk: Walk) -> Found:
    platform = walk.bundle.platform
    expected = "local" if walk.emulated else "aws-nitro"
    same("platform", platform, expected, "the image was built for one platform, run on another")
    why = "an emulator signed these documents: no hardware isolated this run"
    return Found(len(walk.sessions), f"image for {platform}", why if walk.emulated else "")


def image(walk: Walk) -> Found:
    root, pcrs = walk.bundle.root, walk.bundle.pcrs
    policy = Policy(sha256(root).digest(), root, pcrs, emulated=walk.emulated)

    def check(seen: Seen) -> None:
        now = nitro.claimed_time(seen.left.document)
        nitro.accept(seen.document, policy, nonce=None, now=now)

    everywhere(walk, check)
    return Found(len(walk.sessions), f"documents with pcr 0 {pcrs[0].hex()}")


def challenge(walk: Walk) -> Found:
    def check(seen: Seen) -> None:
        challenge = seen.left.challenge
        same("challenge", len(challenge), CHALLENGE_BYTES)
        same("nonce", (seen.document.nonce or b"").hex(), challenge.hex())

    everywhere(walk, check)
    unlike("challenge", [seen.left.challenge for seen in walk.sessions])
    return Found(len(walk.sessions), "challenges")


def transport(walk: Walk) -> Found:
    def check(seen: Seen) -> None:
        _check_x25519(seen.document.public_key)
        try:
            seen.claims = Claims.decode(seen.document.user_data or b"")
        except RemoteProtocolError as error:
            raise VerificationError("claims", found=error, expected="confbench/1's") from None

    everywhere(walk, check)
    unlike("session key", [seen.document.public_key or b"" for seen in walk.sessions])
    return Found(len(walk.sessions), "attested x25519 keys")


def _check_x25519(key: bytes | None) -> None:
    """32 bytes, and of none of the small orders, with which any secret would be zero (RFC 7748)."""
    try:
        ANY_X25519.exchange(X25519PublicKey.from_public_bytes(key or b""))
    except ValueError:
        found = f"{len(key or b'')} bytes" if len(key or b"") != hpke.PUBLIC_KEY_BYTES else "weak"
        raise VerificationError("session key", found=found, expected="an X25519 key") from None


def receipts(walk: Walk) -> Found:
    mode = "evaluation" if walk.emulated else "production"

    def check(seen: Seen) -> None:
        pcr0, pcr1, pcr2 = (seen.document.pcrs.get(index, b"") for index in IMAGE_PCRS)
        expected = receipt.Expected(
            attestation_hash=sha256(seen.left.document).digest(),
            security_mode=mode,
            nonce=seen.document.nonce,
            measurements=receipt.Measurements(pcr0, pcr1, pcr2),
        )
        key = Ed25519PublicKey.from_public_bytes(seen.claims.receipt_key)
        seen.receipts = [receipt.verify(r, key, expected=expected) for r in seen.left.receipts]

    everywhere(walk, check)
    count = sum(len(seen.receipts) for seen in walk.sessions)
    why_not = "" if count else "no session left a receipt"
    return Found(count, f"receipts of mode {mode}, of {len(walk.sessions)} sessions", why_not)


def completeness(walk: Walk) -> Found:
    def check(seen: Seen) -> None:
        key = Ed25519PublicKey.from_public_bytes(seen.claims.receipt_key)
        for number, found in enumerate(seen.receipts):
            same("receipt number", found.sequence, number)
        seen.bodies = list(statements(seen.left, key))

    everywhere(walk, check)
    unlike("session id", [seen.left.session_id for seen in walk.sessions])
    ids = [found.receipt_id for seen in walk.sessions for found in seen.receipts]
    unlike("receipt id", ids)
    stated = sum(len(seen.bodies) for seen in walk.sessions)
    return Found(len(ids), f"receipts under {stated} signed statements")
