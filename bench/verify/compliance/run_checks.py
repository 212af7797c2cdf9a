"""Checks across sessions: model, boots, key release and its policy, records, whom to trust."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.verify import key_policy as linter
from bench.verify import policy_statements
from bench.verify.compliance.walk import Found, Seen, Walk, everywhere, same, unlike
from enclave.wire.errors import VerificationError
from enclave.wire.manifest import verify_manifest

RELEASE = ("attest", "key_release")  # stages of a boot, in this order
DECRYPTS = [action for action in linter.OPENS if action not in linter.SEALS]
MEASURED = "kms:recipientattestation:"


def model(walk: Walk) -> Found:
    owner = Ed25519PublicKey.from_public_bytes(walk.bundle.owner)
    manifest, walk.manifest_digest = verify_manifest(walk.bundle.manifest, owner)
    same("key of the manifest", manifest.key_arn, walk.bundle.key_arn)

    def check(seen: Seen) -> None:
        for found in seen.receipts:
            same("model weights", found.model_hash.hex(), manifest.weights_sha256.hex())
            same("model", found.model_id, manifest.model)
            same("model version", found.model_version, manifest.version)

    everywhere(walk, check)
    count = sum(len(seen.receipts) for seen in walk.sessions)
    return Found(count, f"receipts with weights {manifest.weights_sha256.hex()}")


def boots(walk: Walk) -> Found:
    keys = []
    for boot in walk.boots:
        key = boot[0].claims.receipt_key
        for seen in boot:
            if seen.claims.receipt_key != key:
                found = f"{seen.claims.receipt_key.hex()} in {seen.place}"
                raise VerificationError("receipt key", found=found, expected=f"{key.hex()}")
        keys.append(key)
    unlike("receipt key", keys)
    return Found(len(keys), "attested Ed25519 keys")


def immutability(walk: Walk) -> Found:
    wanted = walk.manifest_digest.hex()
    everywhere(walk, lambda s: same("manifest digest", s.claims.manifest_digest.hex(), wanted))
    why_not = "" if len(walk.boots) > 1 else "there is one boot: nothing to compare it with"
    return Found(len(walk.boots), f"boots with the manifest {wanted}", why_not)


def key_release(walk: Walk) -> Found:
    for boot in walk.boots:
        bodies = [(seen.place, body.get("boot_ns")) for seen in boot for body in seen.bodies]
        for place, stages in bodies:
            _check_released(stages, place)
            if stages != bodies[0][1]:
                expected = "the same boot as the session before"
                raise VerificationError(
                    "boot stages", found=f"others in {place}", expected=expected
                )
    return Found(len(walk.boots), f"boots with the signed stages {', then '.join(RELEASE)}")


def _check_released(stages: object, place: str) -> None:
    """Rows of [stage, nanoseconds, when it began]: the one is over before the other begins."""
    rows = stages if type(stages) is list else []
    rows = [row for row in rows if type(row) is list and len(row) == 3 and row[0] in RELEASE]
    spans = [row[1:] for row in rows if all(type(number) is int for number in row[1:])]
    ends = [begin + elapsed for elapsed, begin in spans if elapsed > 0]
    if [row[0] for row in rows] != list(RELEASE) or len(ends) != 2 or spans[1][1] < ends[0]:
        found = f"{rows} in {place}"
        raise VerificationError("key release", found=found, expected=f"{' before '.join(RELEASE)}")


def key_policy(walk: Walk) -> Found:
    """What the linter leaves open: that the image is this one, and that somebody may decrypt."""
    bundle = walk.bundle
    linter.require(bundle.key_policy, sealers=bundle.sealers)
    allowed = policy_statements.read(bundle.key_policy)
    opening = [statement for statement in allowed if statement.allowed(DECRYPTS)]
    for statement in opening:
        _check_image(statement, bundle.pcrs)
    if not opening:
        expected = "one for this image: else this run had its key from elsewhere"
        raise VerificationError("key policy", found="no statement to decrypt", expected=expected)
    return Found(len(allowed), f"statements, said to be of {bundle.key_arn}")


def _check_image(statement: policy_statements.Statement, pcrs: Mapping[int, bytes]) -> None:
    """A measurement of the image is asked for, and each that is asked for is the image's own."""
    measured = {f"{MEASURED}pcr{index}": value.hex() for index, value in pcrs.items()}
    measured[f"{MEASURED}imagesha384"] = pcrs[0].hex()  # another name for PCR0
    step = f"key policy statement {statement.name}"
    named = set()
    for operator, key, values in statement.conditions:
        if operator in linter.EXACT and key in measured:
            named.add(key)
            for value in values:
                same(step, f"{value[:96].lower()} as {key}", f"{measured[key]} as {key}")
    if not named.intersection(linter.IMAGE_KEYS):
        raise VerificationError(step, found="no image", expected="pcr 0 of this image")


def settings(walk: Walk) -> Found:
    """Runs may differ in them: each is compared with its own first session."""
    chosen: dict[str, str] = {}

    def check(seen: Seen) -> None:
        found = seen.claims.settings_digest.hex()
        wanted = chosen.setdefault(seen.run, found)
        same("settings digest", found, wanted)
        for said in seen.receipts:
            same("settings of a receipt", said.policy_version, wanted)

    everywhere(walk, check)
    count = sum(1 + len(seen.receipts) for seen in walk.sessions)
    digests = ", ".join(sorted(set(chosen.values())))
    return Found(count, f"documents and receipts with settings {digests}")


def records(walk: Walk) -> Found:
    digests = [boot.records for run in walk.bundle.runs for boot in run.boots]
    for digest, boot in zip(digests, walk.boots, strict=True):
        if digest not in [body.get("records") for seen in boot for body in seen.bodies]:
            raise VerificationError(
                "record lines",
                found=f"{digest.hex()} in {boot[0].place}",
                expected="a digest the enclave signed",
            )
    return Found(len(digests), "digests of record lines, one a boot")


def anchors(walk: Walk) -> Found:
    bundle, given = walk.bundle, walk.anchors
    if given is None:
        return Found(0, "", "they are the bundle's own; give the ones that you trust")
    same("root", sha256(bundle.root).hexdigest(), sha256(given.root).hexdigest())
    same("owner", bundle.owner.hex(), given.owner.hex())
    for index, value in sorted(bundle.pcrs.items()):
        same(f"pcr {index}", value.hex(), given.pcrs.get(index, b"").hex())
    return Found(2 + len(bundle.pcrs), f"digests: owner {bundle.owner.hex()}, root and PCRs")
