"""Weights that an installed Python package carries, found without importing it.

Importing runs the package's code and pulls in what it depends on; its list of files is enough. The
files are copied, not linked: a link would let an edit under results/ reach the environment.
"""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from bench.weights import CONFIG, TOKENIZER, WEIGHTS, Row, SourceError, deposit

LOCATOR = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.+!]+)")


def fetch(row: Row, folder: Path) -> None:
    """From the package `name==version` of the row's locator, which must be installed.

    Files that the row does not pin must agree with the digests of the package's own RECORD.
    """
    pinned = deposit.pins(row, required=True)
    distribution = _distribution(row)
    members = _members(row, distribution)
    pins = _record(members) | pinned
    published = _path(members[CONFIG]).read_bytes()
    deposit.verify(row, CONFIG, sha256(published).hexdigest(), pins)
    deposit.write(
        row,
        folder,
        config=deposit.configuration(row, published),
        contents={name: deposit.chunks(_path(members[name])) for name in (WEIGHTS, TOKENIZER)},
        pins=pins,
        provenance={
            "package": distribution.metadata["Name"],
            "version": distribution.version,
            "path": str(members[WEIGHTS]),
        },
    )


def tokenizer(row: Row) -> bytes:
    """The tokenizer.json of the package in the row's locator, as its RECORD says it is."""
    members = _members(row, _distribution(row))
    data = _path(members[TOKENIZER]).read_bytes()
    deposit.verify(row, TOKENIZER, sha256(data).hexdigest(), _record(members))
    return data


def _distribution(row: Row) -> metadata.Distribution:
    locator = row["locator"]
    match = LOCATOR.fullmatch(locator)
    if match is None:
        raise SourceError(row, "locator", found=locator, expected="package==version")
    name, version = match.groups()
    hint = f"pip install --no-deps {locator}"
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise SourceError(
            row, "locator", found="no such package installed", expected=locator, hint=hint
        ) from None
    if found.version != version:
        raise SourceError(row, "locator", found=found.version, expected=locator, hint=hint)
    return found


def _members(row: Row, distribution: metadata.Distribution) -> dict[str, metadata.PackagePath]:
    """The weights, wherever the package keeps them, and what lies beside them."""
    files = distribution.files or []
    weights = [path for path in files if path.name == WEIGHTS]
    if len(weights) != 1:
        found = [str(path) for path in weights]
        raise SourceError(row, "locator", found=found, expected=f"one {WEIGHTS} in the package")
    beside = {path.name: path for path in files if path.parent == weights[0].parent}
    names = (WEIGHTS, TOKENIZER, CONFIG)
    if missing := [name for name in names if name not in beside]:
        raise SourceError(row, "locator", found=f"no {missing}", expected=f"all of {names}")
    return {name: beside[name] for name in names}


def _record(members: dict[str, metadata.PackagePath]) -> dict[str, str]:
    """SHA-256 in hex from the RECORD (packaging.python.org, "Recording installed projects")."""
    hashes = {name: path.hash for name, path in members.items()}
    return {
        name: base64.urlsafe_b64decode(f"{found.value}=").hex()
        for name, found in hashes.items()
        if found is not None and found.mode == "sha256"
    }


def _path(member: metadata.PackagePath) -> Path:
    return Path(str(member.locate()))
