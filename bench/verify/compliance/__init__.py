"""What a run's sessions left behind, in one file (`bundle`), and what it proves (`verdict`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Result(Enum):
    """How much is known of a property."""

    PROVEN = "proven"
    FAILED = "failed"
    NOT_PROVEN = "not proven"


@dataclass(frozen=True, slots=True)
class Row:
    """One property, judged. `checked` counts what was looked at, and `evidence` names it.

    `detail` says why it failed or is not proven. `emulated`: the word of an emulator, which vouches
    for no hardware.
    """

    id: str
    property: str
    how: str
    result: Result
    checked: int
    evidence: str
    detail: str
    emulated: bool


@dataclass(frozen=True, slots=True)
class Anchors:
    """What a reviewer trusts from elsewhere: root (DER), the owner's Ed25519 key, PCR0, 1 and 2."""

    root: bytes
    owner: bytes
    pcrs: Mapping[int, bytes]
