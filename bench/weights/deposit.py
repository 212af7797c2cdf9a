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
from bench.weights import CONFIG, SOURCE, TOKENIZER, WEIGHTS, Row, SourceError, quantise
from enclave.models import Architecture, Dimensions, Quantised
from enclave.models.engine import ARCHITECTURES
from enclave.models.tokenizer import Tokenizer
from enclave.wire.errors import RemoteProtocolError

SCHEMA = 1
CHUNK_BYTES = 1 << 20
SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors", re.ASCII)
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
    Weights come in floats, which is what a pin of theirs speaks of, and are written in the row's
    precision; `provenance` then says what the floats were.
    """
    (folder / SOURCE).unlink(missing_ok=True)  # it must never describe other files
    came: dict[str, str] = {}
    sources = {name: checked(row, name, chunks, pins, came) for name, chunks in contents.items()}
    try:
        sources[WEIGHTS] = quantise.quantise(sources[WEIGHTS], precisions(row, config))
        digests = {name: _put(folder / name, chunks) for name, chunks in sources.items()}
        with (folder / WEIGHTS).open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        architecture(row).check(whole, config)
        Tokenizer((folder / TOKENIZER).read_bytes())
    except RemoteProtocolError as error:
        hint = "the row's architecture, config and locator must belong together"
        expected = f"files of architecture {row['architecture']}"
        raise SourceError(row, "locator", found=error, expected=expected, hint=hint) from None
    kept = {name: row[name] for name in ("model", "version", "architecture", "source", "license")}
    if came[WEIGHTS] != digests[WEIGHTS].sha256:
        provenance = {**provenance, "float_sha256": came[WEIGHTS]}
    deposit = Deposit(**kept, config=config, files=digests, provenance=provenance)
    fields = {"schema": SCHEMA, **asdict(deposit)}
    data = json.dumps(fields, indent=2, sort_keys=True) + "\n"
    _put(folder / SOURCE, [data.encode()])


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
        return architecture(row).dimensions(values | {"precision": row["precision"]})
    except (OSError, ValueError, TypeError, RemoteProtocolError) as error:
        expected = "name=number words, or the path of a JSON file, of this architecture"
        raise SourceError(row, "config", found=error, expected=expected) from None


def precisions(row: Row, config: Dimensions) -> Mapping[str, str]:
    """Tensors that are to be stored in something else than float32."""
    module = architecture(row)
    return module.precisions(config) if isinstance(module, Quantised) else {}


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
    parts = {name for name in found if SHARD.fullmatch(name)}
    if (
        not digests
        or found.keys() - known - parts
        or (required and not parts | found.keys() & {WEIGHTS})
    ):
        expected = f"64 hex digits for {WEIGHTS}, or file=digest for some of {sorted(known)}"
        raise SourceError(row, "sha256", found=repr(cell), expected=expected)
    return found


def shards(row: Row, pins: Mapping[str, str]) -> list[str]:
    """Files that the weights are split into, in order; none where they are one file."""
    found = sorted(name for name in pins if SHARD.fullmatch(name))
    count = len(found)
    if found != [f"model-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)]:
        expected = "a digest for each file of the weights, model-00001-of-0000n.safetensors to n"
        raise SourceError(row, "sha256", found=found, expected=expected)
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


def checked(
    row: Row, name: str, chunks: Iterable[bytes], pins: Mapping[str, str], came: dict[str, str]
) -> Iterator[bytes]:
    """The chunks; at their end `came` has their digest, and SourceError where the pin differs."""
    digest = sha256()
    for chunk in chunks:
        digest.update(chunk)
        yield chunk
    came[name] = digest.hexdigest()
    verify(row, name, came[name], pins)


def _put(path: Path, chunks: Iterable[bytes]) -> Digest:
    """Write chunk by chunk; the file has its name only when whole, as its source says it is."""
    digest, written = sha256(), 0
    with files.replacing(path) as file:
        for chunk in chunks:
            digest.update(chunk)
            written += file.write(chunk)
    return Digest(digest.hexdigest(), written)
