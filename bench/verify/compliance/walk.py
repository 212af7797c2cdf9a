"""A bundle on its way through the checks, and what checks have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from bench.verify import AWS_ROOT_SHA256, Document
from bench.verify.compliance import Anchors
from bench.verify.compliance.bundle import Bundle
from bench.verify.sessions import Evidence
from enclave.wire.claims import Receipt
from enclave.wire.errors import VerificationError
from enclave.wire.messages import Claims


@dataclass(frozen=True, slots=True)
class Found:
    """What a check that passed looked at; with `why_not` it could not be decided."""

    checked: int
    evidence: str
    why_not: str = ""


@dataclass(slots=True)
class Seen:
    """A session of a run, and what earlier checks read out of it."""

    run: str
    place: str
    left: Evidence
    document: Document = field(init=False)
    claims: Claims = field(init=False)
    receipts: list[Receipt] = field(init=False)
    bodies: list[Mapping[str, object]] = field(init=False)


@dataclass(slots=True)
class Walk:
    """A bundle on its way through the checks; `boots` holds the sessions of every boot."""

    bundle: Bundle
    anchors: Anchors | None
    boots: list[list[Seen]]
    manifest_digest: bytes = field(init=False)

    @classmethod
    def start(cls, bundle: Bundle, anchors: Anchors | None) -> Walk:
        """Nothing is checked yet."""
        return cls(bundle, anchors, list(_boots(bundle)))

    @property
    def sessions(self) -> list[Seen]:
        """Of all boots."""
        return [seen for boot in self.boots for seen in boot]

    @property
    def emulated(self) -> bool:
        """Whether the bundle's root is an emulator's."""
        return sha256(self.bundle.root).digest() != AWS_ROOT_SHA256


def _boots(bundle: Bundle) -> Iterator[list[Seen]]:
    for run in bundle.runs:
        for number, boot in enumerate(run.boots):
            place = f"{run.name}, boot {number}, session"
            yield [
                Seen(run.name, f"{place} {index}", left) for index, left in enumerate(boot.sessions)
            ]


def everywhere(walk: Walk, check: Callable[[Seen], None]) -> None:
    """Check every session; a failure says in which."""
    for seen in walk.sessions:
        try:
            check(seen)
        except VerificationError as error:
            found = f"{error.found} in {seen.place}"
            raise VerificationError(
                error.step, found=found, expected=error.expected, hint=error.hint
            ) from None


def unlike(step: str, values: Sequence[bytes]) -> None:
    """No value stands there twice."""
    seen: set[bytes] = set()
    for value in values:
        if value in seen:
            raise VerificationError(step, found=f"{value.hex()} twice", expected="another each")
        seen.add(value)


def same(step: str, found: object, expected: object, hint: str = "") -> None:
    if found != expected:
        raise VerificationError(step, found=found, expected=expected, hint=hint)
