"""The numbered steps of every verifier, for whoever reports on one.

A verifier stops at its first failure, whose `step` is a name; here stands which number the name
belongs to, and whether evidence that fails there can still be authentic. A name covers all that
begin with it and a space: `pcr` is `pcr 0` too. The numbers are those in the verifiers' docstrings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.verify import key_policy
from enclave.wire.receipt import CHECKS


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what holds once it is passed, and the names of its failures."""

    text: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Procedure:
    """The steps of one verifier, numbered from 1; `policy` names failures of acceptance alone."""

    name: str
    steps: tuple[Step, ...]
    policy: tuple[str, ...] = ()

    def number(self, failure: str) -> int:
        """The step that a failure belongs to; 0 for a name that no step knows."""
        numbered = enumerate(self.steps, start=1)
        return next((number for number, step in numbered if _among(failure, step.names)), 0)

    def refuses(self, failure: str) -> bool:
        """Whether the failure says: authentic perhaps, but not acceptable here."""
        return _among(failure, self.policy)


def _among(failure: str, names: Iterable[str]) -> bool:
    return any(failure == name or failure.startswith(f"{name} ") for name in names)


def _checks(*layers: int) -> tuple[str, ...]:
    return tuple(name for name, (layer, _) in CHECKS.items() if layer in layers)


AUTHENTIC = Procedure(  # bench.verify.nitro.authenticate
    "authentic",
    (
        Step("size: at most 20 KiB, before anything is parsed", ("size",)),
        Step("envelope: cose_sign1, header exactly es384, nothing unprotected", ("envelope",)),
        Step(
            "payload: strict cbor, exactly the known fields within their limits",
            ("payload", "fields", "field"),
        ),
        Step(
            "chain: from the pinned root to the enclave's certificate, all valid then",
            ("root", "certificate", "issuer", "validity", "authority", "extensions", "leaf"),
        ),
        Step("signature: by that certificate's key over header and payload", ("signature",)),
    ),
)

ACCEPTABLE = Procedure(  # bench.verify.nitro.accept
    "acceptable",
    (
        Step("root: the policy's, and named emulated if it is", ("root",)),
        Step("debug mode: the image is measured", ("debug mode",)),
        Step("pcrs: those of the image that was built", ("pcr",)),
        Step("instance: pcr 4 measures the instance in module_id", ("instance",)),
        Step("freshness: not older than the policy's limit, not ahead", ("freshness",)),
        Step("nonce: the verifier's challenge, whole", ("nonce",)),
        Step("public key: the one given", ("public key",)),
    ),
    policy=("root", "debug mode", "pcr", "instance", "freshness", "nonce", "public key"),
)

RECEIPT = Procedure(  # enclave.wire.receipt.verify
    "receipt",
    (
        Step("shape: size, envelope, headers, closed set of claims, profile", _checks(1)),
        Step("signature: by the attested receipt key", _checks(2)),
        Step("claims: they make sense by themselves", _checks(3)),
        Step("expected: they fit the attested session and this policy", _checks(4)),
    ),
    policy=_checks(3, 4),
)

MANIFEST = Procedure(  # enclave.wire.manifest.verify_manifest
    "manifest",
    (
        Step("envelope: a cose_sign1 with tag 18", ("manifest envelope",)),
        Step("header: it says that this is a manifest", ("manifest header",)),
        Step("signature: the model's owner made it", ("manifest signature",)),
        Step("fields: exactly those of a manifest, within their bounds", ("manifest fields",)),
    ),
    policy=("manifest fields",),
)

STATEMENT = Procedure(  # enclave.wire.batch.verify
    "statement",
    (
        Step("envelope: a cose_sign1 with tag 18", ("statement envelope",)),
        Step("header: it says that this is a statement, not a receipt", ("statement header",)),
        Step("signature: by the attested receipt key", ("statement signature",)),
        Step("fields: exactly those of a statement, within their bounds", ("statement fields",)),
    ),
    policy=("statement fields",),
)

_TOKEN_ENVELOPE = Step(
    "size, envelope, header: strict, rs256, nothing that names a key elsewhere",
    ("size", "envelope", "header"),
)
_TOKEN_PAYLOAD = Step(
    "payload: strict json, every claim that is judged of its exact type", ("payload", "claim")
)

TOKEN_PKI = Procedure(  # bench.verify.confidential_space.authenticate_pki
    "authentic (pki)",
    (
        _TOKEN_ENVELOPE,
        Step(
            "chain: from the signer's certificate to the pinned root, all valid then",
            (
                *("x5c", "root", "certificate", "issuer certificate", "validity", "authority"),
                *("extensions", "leaf"),
            ),
        ),
        Step("signature: by that certificate's key over header and payload", ("signature",)),
        _TOKEN_PAYLOAD,
    ),
)

TOKEN_OIDC = Procedure(  # bench.verify.confidential_space.authenticate_oidc
    "authentic (oidc)",
    (
        _TOKEN_ENVELOPE,
        Step("key: the one of that id in the key set, for rs256 signatures", ("key",)),
        Step("signature: by that key over header and payload", ("signature",)),
        _TOKEN_PAYLOAD,
    ),
)

TOKEN_ACCEPTABLE = Procedure(  # bench.verify.confidential_space.accept
    "acceptable",
    (
        Step("anchor: the policy's root or key set", ("anchor",)),
        Step("issuer: google's service, or the emulator's where it is named", ("issuer",)),
        Step("audience: this verifier", ("audience",)),
        Step(
            "time: valid then, made for an hour at most, not too old",
            ("life", "expiry", "not before", "freshness"),
        ),
        Step("debug mode: disabled since boot", ("debug mode",)),
        Step(
            "hardware: secure boot, google's, a named model, its tcb current",
            ("secure boot", "oem", "hardware", "tcb"),
        ),
        Step(
            "software: confidential space, with the support attributes asked for",
            ("software", "support"),
        ),
        Step("image: the digest of the container", ("image",)),
        Step("overrides: none of command or environment that is not listed", ("overrides",)),
        Step("service accounts: some, and none but those listed", ("service accounts",)),
        Step("gpu: in confidential mode wherever there is one", ("gpu",)),
        Step("nonce: the one given, whole, and no other beside it", ("nonce",)),
    ),
    policy=(
        *("issuer", "audience", "life", "expiry", "not before", "freshness", "debug mode"),
        *("secure boot", "oem", "hardware", "tcb", "software", "support", "image", "overrides"),
        *("service accounts", "gpu", "nonce"),
    ),
)

EVIDENCE = Procedure(  # bench.analysis.evidence.check
    "evidence",
    (
        Step("plan: the records read, and state its identity", ("records", "plan identity")),
        Step(
            "image and model: the ones that were built, and signed by the owner",
            ("measurements", "model manifest"),
        ),
        Step(
            "documents: authentic and acceptable, each at its own time",
            (
                *("evidence file", "boots"),
                *(name for p in (AUTHENTIC, ACCEPTABLE) for step in p.steps for name in step.names),
            ),
        ),
        Step(
            "claims: receipt key, settings and manifest are the plan's",
            ("session key", "claims", "settings digest", "manifest digest"),
        ),
        Step("receipts: by that key, for this session, in order", tuple(CHECKS)),
        Step(
            "statements: an unbroken chain over all receipts",
            ("statement", "previous statement", "receipts"),
        ),
        Step("records: every line is one that the enclave committed to", ("record lines",)),
        Step(
            "own times: the enclave's lines are the times it signed",
            ("own inference times", "own boot stages"),
        ),
    ),
    policy=(
        *("measurements", "model manifest", "settings digest", "manifest digest"),
        *(name for name in ACCEPTABLE.policy if name != "root"),
    ),
)

MEASUREMENTS = Procedure(  # bench.image.measurements.decode, then check
    "measurements",
    (
        Step("form: this schema, whole digests, what is said twice agrees", ("measurements",)),
        Step("image: image.eif beside it measures as it says, to the byte", ("image",)),
    ),
)

KEY_POLICY = Procedure(  # bench.verify.key_policy.lint
    "key policy",
    tuple(Step(text, (rule,)) for rule, text in key_policy.RULES.items()),
    policy=tuple(rule for rule in key_policy.RULES if rule != "unreadable"),
)
