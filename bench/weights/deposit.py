"""The folder that a source leaves behind: two files of a model and a digest file of both.

source.json is small, holds no time and no path, and is written last: where it stands, the rest
does too, and whoever depends on a model's weights can depend on it instead.
"""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from bench import files
from bench.weights import CONFIG, SOURCE, TOKENIZER, WEIGHTS, Row, SourceError
from enclave.models import Architecture, Dimensions
from enclave.models.engine import ARCHITECTURES
from enclave.models.tokenizer import Tokenizer
from enclave.wire.errors import RemoteProtocolError

SCHEMA = 1
CHUNK_BYTES = 1 << 20
ABSENT = ("", "-")  # how a table's cell says that it has nothing to say


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file held; `sha256` in hex."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Deposit:
    """The content of source.json; `config` holds the dimensions of the architecture."""

    model: str
    version: str
    architecture: str
    source: str
    license: str
    config: Dimensions
    files: Mapping[str, Digest]
    provenance: Mapping[str, str]


def write(
    row: Row,
    folder: Path,
    *,
    config: Dimensions,
    contents: Mapping[str, Iterable[bytes]],
    pins: Mapping[str, str],
    provenance: Mapping[str, str],
) -> None:
    """Write both files as they come, check them against `pins` and each other, then source.json.

    Pins say that the bytes are the right ones; the rest says that they are a model that loads.
    """
    (folder / SOURCE).unlink(missing_ok=True)  # it must never describe other files
    digests = {name: _put(row, folder / name, chunks, pins) for name, chunks in contents.items()}
    try:
        with (folder / WEIGHTS).open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        architecture(row).check(whole, config)
        Tokenizer((folder / TOKENIZER).read_bytes())
    except RemoteProtocolError as error:
        hint = "the row's architecture, config and locator must belong together"
        expected = f"files of architecture {row['architecture']}"
        raise SourceError(row, "locator", found=error, expected=expected, hint=hint) from None
    kept = {name: row[name] for name in ("model", "version", "architecture", "source", "license")}
    deposit = Deposit(**kept, config=config, files=digests, provenance=provenance)
    fields = {"schema": SCHEMA, **asdict(deposit)}
    data = json.dumps(fields, indent=2, sort_keys=True) + "\n"
    _put(row, folder / SOURCE, [data.encode()], {})


def read(folder: Path) -> Deposit:
    """Read what `write` wrote; ValueError names the file that is no source.json of ours."""
    path = folder / SOURCE
    try:
        fields = json.loads(path.read_bytes())
        if fields.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        fields["files"] = {name: Digest(**digest) for name, digest in fields["files"].items()}
        return Deposit(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: found {error!r}, expected schema {SCHEMA}") from None


def architecture(row: Row) -> Architecture:
    """The module that the row's architecture names."""
    found = ARCHITECTURES.get(row["architecture"])
    if found is None:
        expected = " or ".join(ARCHITECTURES)
        raise SourceError(row, "architecture", found=row["architecture"], expected=expected)
    return found


def configuration(row: Row, published: bytes = b"{}") -> Dimensions:
    """Dimensions from a published config.json and, over it, the row's `config`.

    That cell is empty, `name=number` words, or the path of a JSON file.
    """
    cell = row["config"].strip()
    try:
        values = json.loads(published)
        if "=" in cell:
            values |= dict(map(_dimension, cell.split()))
        elif cell not in ABSENT:
            values |= json.loads(Path(cell).read_bytes())
        return architecture(row).dimensions(values)
    except (OSError, ValueError, TypeError, RemoteProtocolError) as error:
        expected = "name=number words, or the path of a JSON file, of this architecture"
        raise SourceError(row, "config", found=error, expected=expected) from None


def _dimension(word: str) -> tuple[str, int | float]:
    name, _, value = word.partition("=")
    return name, int(value) if value.isdecimal() else float(value)


def pins(row: Row, *, required: bool) -> dict[str, str]:
    """SHA-256 in hex by file, as the row's `sha256` states them.

    That cell is one digest, of the weights, or several as `file=digest`, split by commas.
    """
    cell = row["sha256"].strip()
    found: dict[str, str] = {}
    for part in [] if cell in ABSENT else cell.split(","):
        name, _, digest = part.strip().rpartition("=")
        found[name or WEIGHTS] = digest
    known = {WEIGHTS, TOKENIZER, CONFIG}
    digests = all(re.fullmatch("[0-9a-f]{64}", digest) for digest in found.values())
    if not digests or found.keys() - known or (required and WEIGHTS not in found):
        expected = f"64 hex digits for {WEIGHTS}, or file=digest for some of {sorted(known)}"
        raise SourceError(row, "sha256", found=repr(cell), expected=expected)
    return found


def verify(row: Row, name: str, digest: str, pins: Mapping[str, str]) -> None:
    """Whether a file is the pinned one; a file without a pin passes."""
    if pins.get(name, digest) != digest:
        hint = "do not use these files: either they or the pin are wrong"
        raise SourceError(
            row, "sha256", found=f"{digest} in {name}", expected=pins[name], hint=hint
        )


def chunks(path: Path) -> Iterator[bytes]:
    """A file, read as it is written elsewhere."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _put(row: Row, path: Path, chunks: Iterable[bytes], pins: Mapping[str, str]) -> Digest:
    """Write chunk by chunk, check what was written, and only then give it its name."""
    digest, written = sha256(), 0
    with files.replacing(path) as file:
        for chunk in chunks:
            digest.update(chunk)
            written += file.write(chunk)
        verify(row, path.name, digest.hexdigest(), pins)
    return Digest(digest.hexdigest(), written)
