"""Key policies, read for what they let through: whoever may open a KMS key without an enclave.

A key is as safe as its weakest statement: one Allow without a condition on the attested image, and
the conditions of all others protect nothing. Every statement is therefore judged by itself; a Deny
elsewhere is never counted in favour. Resources are not looked at: in a key policy they are the key.

The emulated KMS reads policies too (bench.emulators.policy) and that reading does not fit here: it
refuses what it cannot evaluate, and the point of this one is to name what AWS would evaluate.

error     the key opens, or its policy changes, without the measured image
warning   it holds, but for less than it seems
allowed   an error but for an exception that the caller made by name
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from bench.verify.policy_statements import Statement, UnreadableError, read, root_account, share
from enclave.wire.errors import VerificationError

# What hands out plaintext, or lets another key open it. Not GenerateDataKeyWithoutPlaintext and its
# pair: they return ciphertext alone, and know no Recipient, so no condition on an image fits them.
SEALS = ("kms:GenerateDataKey", "kms:GenerateDataKeyPair")
OPENS = ("kms:Decrypt", "kms:ReEncryptFrom", "kms:DeriveSharedSecret", *SEALS)
# What lifts the condition: another policy, a grant (no condition key of an image reaches it), a
# replica in another region with a policy of its own.
ESCALATES = ("kms:PutKeyPolicy", "kms:CreateGrant", "kms:ReplicateKey")

EXACT = ("StringEquals", "StringEqualsIgnoreCase")
LOOSE = re.compile(r".*IfExists|Null|.*Like|ForAllValues:.*|ForAnyValue:.*", re.IGNORECASE)
MEASUREMENT = re.compile(
    r"kms:recipientattestation:(imagesha384|pcr([0-9]|[12][0-9]|3[01]))", re.IGNORECASE
)
IMAGE_KEYS = ("kms:recipientattestation:imagesha384", "kms:recipientattestation:pcr0")
SIGNER_KEY = "kms:recipientattestation:pcr8"
PCR_HEX = re.compile(r"[0-9a-fA-F]{96}")
RULES = {  # in the order in which they are numbered and printed
    "unreadable": "json without a repeated name, every element known",
    "not-principal": "no statement allows everyone but some",
    "not-action": "no statement that opens the key allows every action but some",
    "root-delegation": "nothing that opens the key is left to an account's iam policies",
    "no-image": "whatever opens the key is for one image: pcr 0 or 8, compared for equality",
    "loose-condition": "no condition there that an absent or similar value meets",
    "zero-pcr": "no measurement there is zero, which any debug enclave has",
    "malformed-pcr": "every measurement there is 96 hexadecimal digits",
    "escalation": "who opens the key cannot change its policy, grant it or replicate it",
    "signer-only": "an image is named, not its signer alone",
    "anyone": "principals are named",
}


class Severity(Enum):
    """How much a finding weighs."""

    ERROR = "error"
    WARNING = "warning"
    ALLOWED = "allowed"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one statement lets through; `statement` is its Sid, or its number from 1."""

    statement: str
    rule: str
    severity: Severity
    found: str
    hint: str

    def __str__(self) -> str:
        where = f"{self.severity.value}: statement {self.statement}, {self.rule}"
        return f"{where}: {self.found}; {self.hint}"


def lint(text: str, *, sealers: Container[str] = ()) -> tuple[Finding, ...]:
    """Everything that is wrong with a key policy (JSON), statement by statement; none: empty.

    `sealers` are principals, named whole, that hold the plaintext anyway: a model's owner. For them
    data keys without an enclave are `allowed`, also beside the right to change the policy; Decrypt
    never is. A policy that cannot be read is one finding, of the rule `unreadable`.
    """
    try:
        statements = read(text)
    except UnreadableError as error:
        hint = "aws would refuse it, or read it otherwise than a person does"
        return (Finding(error.statement, "unreadable", Severity.ERROR, str(error), hint),)
    found = [finding for statement in statements for finding in _judge(statement, sealers)]
    found += _escalations(statements, sealers)
    return tuple(sorted(found, key=lambda finding: list(RULES).index(finding.rule)))


def require(text: str, *, sealers: Container[str] = ()) -> tuple[Finding, ...]:
    """Findings that are no errors; VerificationError for the first error."""
    findings = lint(text, sealers=sealers)
    for finding in findings:
        if finding.severity is Severity.ERROR:
            raise VerificationError(
                f"key policy {finding.rule}",
                found=f"statement {finding.statement}: {finding.found}",
                expected=RULES[finding.rule],
                hint=finding.hint,
            )
    return findings


def _judge(statement: Statement, sealers: Container[str]) -> Iterator[Finding]:
    """The rules that one statement can break by itself."""

    def finding(rule: str, found: str, hint: str, severity: Severity = Severity.ERROR) -> Finding:
        return Finding(statement.name, rule, severity, found, hint)

    opened, raised = statement.allowed(OPENS), statement.allowed(ESCALATES)
    if statement.all_but_principals:
        hint = "name in Principal who may; NotPrincipal lets in every account there is"
        yield finding("not-principal", "Allow with NotPrincipal", hint)
    roots = [name for name in statement.principals if root_account(name)]
    if roots and (opened or raised):
        hint = "name roles instead: any policy in that account's iam could grant these actions"
        found = f"{roots[0]} may {', '.join(opened + raised)}"
        yield finding("root-delegation", found, hint)
    if not opened:
        return
    if statement.all_but_actions:
        hint = "list in Action what is needed"
        yield finding("not-action", f"NotAction leaves {', '.join(opened)}", hint)
    if "*" in statement.principals:
        hint = "name the instance's role, so that the image runs where its host is known"
        yield finding("anyone", "Principal *", hint, Severity.WARNING)
    yield from _conditions_met_by_nothing(statement)
    yield from _image(statement, opened, sealers)


def _conditions_met_by_nothing(statement: Statement) -> Iterator[Finding]:
    """Conditions that look like a comparison with an image and are none."""
    for operator, key, values in statement.conditions:
        measured = MEASUREMENT.fullmatch(key) is not None
        if LOOSE.fullmatch(operator) or (measured and operator not in EXACT):
            hint = f"use {EXACT[1]}: it fails where the request carries no attestation"
            found = f"{operator} on {key}"
            yield Finding(statement.name, "loose-condition", Severity.ERROR, found, hint)
        for value in values if measured else ():
            if not PCR_HEX.fullmatch(value):
                rule, found = "malformed-pcr", f"{key} is {value[:40]!r}"
                hint = "copy it from measurements.json"
            elif not value.strip("0"):
                rule, found = "zero-pcr", f"{key} is zero"
                hint = "a debug enclave measures as zero, and its host can read it"
            else:
                continue
            yield Finding(statement.name, rule, Severity.ERROR, found, hint)


def _image(
    statement: Statement, opened: Sequence[str], sealers: Container[str]
) -> Iterator[Finding]:
    """Whether an image, or at least its signer, has to be attested."""
    compared = {key for operator, key, _ in statement.conditions if operator in EXACT}
    if compared.intersection(IMAGE_KEYS):
        return
    if SIGNER_KEY in compared:
        hint = "add PCR0: the signer's old images, with their faults, open the key as well"
        yield Finding(statement.name, "signer-only", Severity.WARNING, "PCR8 alone", hint)
        return
    severity = Severity.ALLOWED if _seals_only(statement, opened, sealers) else Severity.ERROR
    yield Finding(
        statement.name,
        "no-image",
        severity,
        f"{', '.join(statement.principals) or 'anyone'} may {', '.join(opened)} without an image",
        "add a StringEqualsIgnoreCase on kms:RecipientAttestation:PCR0, or take the action away"
        if severity is Severity.ERROR
        else "named as one who seals: new data keys come to this principal in the clear",
    )


def _escalations(statements: Sequence[Statement], sealers: Container[str]) -> Iterator[Finding]:
    """Across statements: the same principal opens the key and could lift what stands before it."""
    for raising in (statement for statement in statements if statement.allowed(ESCALATES)):
        opening = [s for s in statements if s.allowed(OPENS) and share(raising, s)]
        unnamed = raising.all_but_principals or "*" in raising.principals
        if not opening and not unnamed:
            continue
        named = all(principal in sealers for principal in raising.principals)
        seals = all(_seals_only(s, s.allowed(OPENS), sealers) for s in opening)
        excused = named and seals and not unnamed
        names = ", ".join(sorted({s.name for s in opening})) or "nothing yet"
        yield Finding(
            raising.name,
            "escalation",
            Severity.ALLOWED if excused else Severity.ERROR,
            f"{', '.join(raising.allowed(ESCALATES))} beside what opens the key: {names}",
            "named as one who seals: it could also let itself decrypt"
            if excused
            else "give the administration of the key to a role that cannot use it",
        )


def _seals_only(statement: Statement, opened: Sequence[str], sealers: Container[str]) -> bool:
    """Nothing but data keys, for principals that the caller named."""
    named = bool(statement.principals) and not statement.all_but_principals
    return named and set(opened) <= set(SEALS) and all(p in sealers for p in statement.principals)
