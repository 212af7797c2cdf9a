"""`measurements.json`: what a build writes down about its image, and all that a verifier trusts.

PCRs do not see where one section ends and the next begins, so each section's digest stands beside
them; `enclave_digest` is the SHA-256 of the lines that `sha256sum` prints for the files, sorted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256, sha384
from pathlib import Path
from typing import Any

from bench.image import ImageError, cpio, eif
from bench.image.eif import Kind

SCHEMA = 1
HINT = "build the image again"

SHA256_HEX = re.compile(r"[0-9a-f]{64}")
SHA384_HEX = re.compile(r"[0-9a-f]{96}")

TYPES = {
    "schema": int,
    "platform": str,
    "pcrs": dict,
    "sections": list,
    "cmdline": str,
    "enclave_digest": str,
    "files": dict,
    "eif_sha256": str,
    "build_tool": str,
}


@dataclass(frozen=True, slots=True)
class SectionDigest:
    """A section in file order: its type in lower case, its data's digest (hex) and length."""

    type: str
    sha384: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Measurements:
    """An image in digests. PCRs are 48 bytes each; other digests are hexadecimal text."""

    platform: str
    pcrs: Mapping[int, bytes]
    sections: tuple[SectionDigest, ...]
    cmdline: str
    enclave_digest: str
    files: Mapping[str, str]
    eif_sha256: str
    build_tool: str


def measure(data: bytes, *, build_tool: str, file: str = "image.eif") -> Measurements:
    """Everything about an EIF's bytes; ImageError where they are not one of ours."""
    image = eif.decode(data, file=file)
    cmdline = image.data(Kind.CMDLINE)[0].decode(errors="replace")
    files = {
        entry.path: sha256(entry.data).hexdigest()
        for ramdisk in image.data(Kind.RAMDISK)
        for entry in cpio.decode(ramdisk, file=file)
    }
    return Measurements(
        platform=platform_of(cmdline, file=file),
        pcrs=eif.measure(image.sections),
        sections=tuple(
            SectionDigest(s.kind.name.lower(), sha384(s.data).hexdigest(), len(s.data))
            for s in image.sections
        ),
        cmdline=cmdline,
        enclave_digest=digest_files(files),
        files=files,
        eif_sha256=sha256(data).hexdigest(),
        build_tool=build_tool,
    )


def check(data: bytes, expected: Measurements, *, file: str = "image.eif") -> eif.Image:
    """The image in `data`, which is to the byte the one that `expected` speaks of.

    1. It reads as an EIF with canonical ramdisks.
    2. Every section is the one that was built; this sees a boundary that moved, PCRs do not.
    3. So is everything else that was written down: PCRs, command line, files, the whole file.
    """
    found = _facts(measure(data, build_tool=expected.build_tool, file=file))  # 1
    for field, want in _facts(expected).items():  # 2 and 3: sections come first
        if found.pop(field, None) != want:
            raise ImageError(file, field, found="another", expected=want, hint=HINT)
    if found:
        raise ImageError(file, next(iter(found)), found="one more", expected="none", hint=HINT)
    return eif.decode(data, file=file)


def encode(measurements: Measurements) -> bytes:
    """The file: JSON with sorted keys, indented, one final newline."""
    fields = asdict(measurements) | {
        "schema": SCHEMA,
        "pcrs": {str(index): pcr.hex() for index, pcr in measurements.pcrs.items()},
    }
    return (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode()


def read(path: Path) -> Measurements:
    """A file that `encode` wrote; ImageError names the field that it cannot have written."""
    return decode(path.read_bytes(), file=str(path))


def decode(data: bytes, *, file: str = "measurements.json") -> Measurements:
    """Read strictly, in this order.

    1. A JSON object with the fields of this schema and no others, each of its type.
    2. Digests have their length; PCR0, 1 and 2 are there and none is zero (debug mode).
    3. What is said twice agrees: platform and command line, files and their digest.
    """
    fields = _read_fields(data, file)  # 1
    pcrs = _read_pcrs(fields["pcrs"], file)  # 2
    sections = tuple(_read_section(row, i, file) for i, row in enumerate(fields["sections"]))
    for path, digest in fields["files"].items():
        _expect_match(digest, SHA256_HEX, file, f"files[{path}]")
    _expect_match(fields["eif_sha256"], SHA256_HEX, file, "eif_sha256")
    for field, want in (  # 3
        ("platform", platform_of(fields["cmdline"], file=file)),
        ("enclave_digest", digest_files(fields["files"])),
    ):
        if fields[field] != want:
            raise ImageError(file, field, found=fields[field], expected=want, hint=HINT)
    return Measurements(**fields | {"pcrs": pcrs, "sections": sections})


def platform_of(cmdline: str, *, file: str) -> str:
    """The word after `platform=`, which has to be there once."""
    names = [word[len("platform=") :] for word in cmdline.split() if word.startswith("platform=")]
    if len(names) != 1 or not names[0]:
        hint = "the code inside chooses its platform from this word alone"
        raise ImageError(
            file, "cmdline", found=repr(cmdline), expected="one platform=NAME", hint=hint
        )
    return names[0]


def digest_files(files: Mapping[str, str]) -> str:
    """SHA-256 over `<sha256>  <path>` lines in the order of their paths."""
    lines = (f"{digest}  {path}\n" for path, digest in sorted(files.items()))
    return sha256("".join(lines).encode()).hexdigest()


def _facts(measurements: Measurements) -> dict[str, object]:
    facts: dict[str, object] = {
        f"section {index}": section for index, section in enumerate(measurements.sections)
    }
    facts |= {f"files[{path}]": digest for path, digest in measurements.files.items()}
    facts |= {f"pcrs[{index}]": pcr.hex() for index, pcr in measurements.pcrs.items()}
    facts["cmdline"] = measurements.cmdline
    facts["platform"] = measurements.platform
    facts["enclave_digest"] = measurements.enclave_digest
    return facts | {"eif_sha256": measurements.eif_sha256}


def _read_fields(data: bytes, file: str) -> dict[str, Any]:
    try:
        fields = json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ImageError(
            file, "whole file", found=f"no JSON ({error})", expected="an object", hint=HINT
        ) from error
    _expect_object(fields, TYPES, file, "")
    if fields.pop("schema") != SCHEMA:
        raise ImageError(file, "schema", found="another", expected=SCHEMA, hint=HINT)
    return dict(fields)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return fields


def _expect_object(value: object, types: Mapping[str, type], file: str, where: str) -> None:
    if type(value) is not dict:
        raise ImageError(file, where or "whole file", found=value, expected="an object", hint=HINT)
    for field in sorted(types.keys() ^ value.keys()):
        found = "nothing" if field in types else "a field of another schema"
        expected = "a value" if field in types else "nothing"
        raise ImageError(file, where + field, found=found, expected=expected, hint=HINT)
    for field, kind in types.items():
        if type(value[field]) is not kind:
            raise ImageError(
                file, where + field, found=value[field], expected=kind.__name__, hint=HINT
            )


def _read_pcrs(pcrs: dict[str, str], file: str) -> dict[int, bytes]:
    _expect_object(pcrs, {"0": str, "1": str, "2": str}, file, "pcrs.")
    for index, digits in pcrs.items():
        _expect_match(digits, SHA384_HEX, file, f"pcrs.{index}")
        if not digits.strip("0"):
            raise ImageError(file, f"pcrs.{index}", found="zeros", expected="a PCR", hint=HINT)
    return {int(index): bytes.fromhex(digits) for index, digits in sorted(pcrs.items())}


def _read_section(row: Any, index: int, file: str) -> SectionDigest:
    where = f"sections[{index}]."
    _expect_object(row, {"type": str, "sha384": str, "bytes": int}, file, where)
    _expect_match(row["sha384"], SHA384_HEX, file, f"{where}sha384")
    if row["type"] not in {kind.name.lower() for kind in Kind}:
        raise ImageError(file, f"{where}type", found=row["type"], expected="a section type")
    return SectionDigest(**row)


def _expect_match(value: object, pattern: re.Pattern[str], file: str, field: str) -> None:
    if not (isinstance(value, str) and pattern.fullmatch(value)):
        raise ImageError(file, field, found=repr(value), expected=pattern.pattern, hint=HINT)
