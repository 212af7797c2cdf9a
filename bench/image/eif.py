"""The Enclave Image Format, written and read side by side.

Source: the specification in aws-nitro-enclaves-image-format's README (2024-06-21). Integers are
big-endian; sections lie one after another behind a header of 548 bytes, each behind its own header
of 12. What the header, the flags, the metadata and the signature say is measured by nobody.

The reader is stricter than AWS's own: sections must follow each other without gaps, and unused
table entries must be zero, so that no file has a second reading. Reserved fields are ignored, as
the specification says.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha384

from bench.image import ImageError

MAGIC = b".eif"
VERSIONS = range(2, 5)
MAX_SECTIONS = 32
SIGNATURE_BYTES = 32768

HEADER = struct.Struct(">4sHHQQHH32Q32QII")
SECTION = struct.Struct(">HHQ")
CRC_OFFSET = HEADER.size - 4  # the CRC is the header's last field

PCR_START = bytes(48)


class Kind(IntEnum):
    """Section types; 0 is invalid and 6 and above are undefined."""

    KERNEL = 1
    CMDLINE = 2
    RAMDISK = 3
    SIGNATURE = 4
    METADATA = 5


MEASURED = (Kind.KERNEL, Kind.CMDLINE, Kind.RAMDISK)
SINCE_VERSION = {Kind.SIGNATURE: 3, Kind.METADATA: 4}


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its type and its data."""

    kind: Kind
    data: bytes


@dataclass(frozen=True, slots=True)
class Image:
    """An EIF. `default_memory_bytes` and `default_cpus` bind nobody; the launcher decides."""

    sections: tuple[Section, ...]
    default_memory_bytes: int
    default_cpus: int
    version: int = 4
    arm64: bool = False

    def data(self, kind: Kind) -> tuple[bytes, ...]:
        """The data of every section of one type, in file order."""
        return tuple(section.data for section in self.sections if section.kind is kind)


def encode(image: Image) -> bytes:
    """The file; ImageError where its sections would be refused by `decode`."""
    _check_version(image.version, "eif")
    _check_sections(image.sections, image.version, "eif")
    sizes = [len(section.data) for section in image.sections]
    starts = [HEADER.size + sum(sizes[:i]) + SECTION.size * i for i in range(len(sizes))]
    unused = [0] * (MAX_SECTIONS - len(sizes))
    header = HEADER.pack(
        MAGIC,
        image.version,
        int(image.arm64),
        image.default_memory_bytes,
        image.default_cpus,
        0,
        len(sizes),
        *starts,
        *unused,
        *sizes,
        *unused,
        0,
        0,
    )
    body = b"".join(SECTION.pack(s.kind, 0, len(s.data)) + s.data for s in image.sections)
    crc = zlib.crc32(body, zlib.crc32(header[:CRC_OFFSET]))
    return header[:CRC_OFFSET] + struct.pack(">I", crc) + body


def decode(data: bytes, *, file: str = "eif") -> Image:
    """Read a whole file strictly; `file` is its name for messages.

    1. It holds a header, with the magic and a version that we know.
    2. The CRC-32 over everything but itself is right.
    3. Sections lie where the header says, as long as it says, one behind the other to the end.
    4. Their types exist, in the number and order that the specification wants.
    """
    if len(data) < HEADER.size:  # 1
        raise ImageError(
            file, "header", found=f"{len(data)} bytes", expected=f"{HEADER.size} or more"
        )
    magic, version, flags, memory, cpus, _, count, *rest = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ImageError(file, "magic", found=magic, expected=MAGIC, hint="this is not an EIF")
    _check_version(version, file)
    crc = zlib.crc32(memoryview(data)[HEADER.size :], zlib.crc32(data[:CRC_OFFSET]))  # 2
    if crc != rest[-1]:
        hint = "the file was damaged or changed after it was built: build it again"
        raise ImageError(file, "crc_32", found=f"{rest[-1]:08x}", expected=f"{crc:08x}", hint=hint)
    starts, sizes = rest[:MAX_SECTIONS], rest[MAX_SECTIONS : 2 * MAX_SECTIONS]
    _check_tables(count, starts, sizes, file)
    sections = _read_sections(data, starts[:count], sizes[:count], file)  # 3
    _check_sections(sections, version, file)  # 4
    return Image(sections, memory, cpus, version, bool(flags & 1))


def _check_version(version: int, file: str) -> None:
    if version not in VERSIONS:
        raise ImageError(file, "version", found=version, expected="2, 3 or 4")


def _check_tables(count: int, starts: list[int], sizes: list[int], file: str) -> None:
    if not 2 <= count <= MAX_SECTIONS:
        raise ImageError(file, "num_sections", found=count, expected=f"2 to {MAX_SECTIONS}")
    for name, table in (("section_offsets", starts), ("section_sizes", sizes)):
        if any(table[count:]):
            hint = "num_sections is smaller than the number of sections"
            raise ImageError(
                file, name, found=f"an entry after {count}", expected="zeros", hint=hint
            )


def _read_sections(
    data: bytes, starts: list[int], sizes: list[int], file: str
) -> tuple[Section, ...]:
    sections = []
    end = HEADER.size
    for index, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        if start != end:  # an overlap, a gap, or another order than the file's
            raise ImageError(file, f"section_offsets[{index}]", found=start, expected=end)
        begin = start + SECTION.size
        end = begin + size
        if end > len(data):
            raise ImageError(
                file, f"section_sizes[{index}]", found=size, expected=f"at most {len(data) - begin}"
            )
        number, _, own_size = SECTION.unpack_from(data, start)
        if own_size != size:
            raise ImageError(file, f"section {index} size", found=own_size, expected=size)
        if number not in list(Kind):
            raise ImageError(file, f"section {index} type", found=number, expected="1 to 5")
        sections.append(Section(Kind(number), data[begin:end]))
    if end != len(data):
        raise ImageError(file, "end of file", found=len(data), expected=end, hint="trailing bytes")
    return tuple(sections)


def _check_sections(sections: Sequence[Section], version: int, file: str) -> None:
    kinds = [section.kind for section in sections]
    least_metadata = int(version >= SINCE_VERSION[Kind.METADATA])
    for kind, least, most in (
        (Kind.KERNEL, 1, 1),
        (Kind.CMDLINE, 1, 1),
        (Kind.RAMDISK, 0, MAX_SECTIONS),
        (Kind.SIGNATURE, 0, int(version >= SINCE_VERSION[Kind.SIGNATURE])),
        (Kind.METADATA, least_metadata, least_metadata),
    ):
        if not least <= kinds.count(kind) <= most:
            wanted = f"{least}" if least == most else f"{least} to {most}"
            field = f"number of {kind.name.lower()} sections"
            raise ImageError(
                file, field, found=kinds.count(kind), expected=f"{wanted} in version {version}"
            )
    if len(kinds) > MAX_SECTIONS:
        raise ImageError(file, "num_sections", found=len(kinds), expected=f"at most {MAX_SECTIONS}")
    if Kind.RAMDISK in kinds and kinds.index(Kind.RAMDISK) < kinds.index(Kind.KERNEL):
        raise ImageError(file, "order", found="a ramdisk first", expected="the kernel first")
    for section in sections:
        _check_data(section, file)


def _check_data(section: Section, file: str) -> None:
    if section.kind is Kind.SIGNATURE and len(section.data) > SIGNATURE_BYTES:
        raise ImageError(
            file, "signature", found=len(section.data), expected=f"{SIGNATURE_BYTES} bytes"
        )
    if section.kind is Kind.METADATA:
        try:
            valid = isinstance(json.loads(section.data), dict)
        except (ValueError, RecursionError):
            valid = False
        if not valid:
            raise ImageError(file, "metadata", found="other bytes", expected="a JSON object")


def measure(sections: Sequence[Section]) -> dict[int, bytes]:
    """PCR0 (all measured data), PCR1 (kernel, command line, first ramdisk), PCR2 (other ramdisks).

    Boundaries between sections are not measured: bytes moved from one to the next keep the PCRs.
    So whoever pins PCRs pins each section's digest beside them.
    """
    boot: list[bytes] = []
    application: list[bytes] = []
    ramdisks = 0
    measured = [section for section in sections if section.kind in MEASURED]
    for section in measured:
        ramdisks += section.kind is Kind.RAMDISK
        is_later_ramdisk = section.kind is Kind.RAMDISK and ramdisks > 1
        (application if is_later_ramdisk else boot).append(section.data)
    everything = [section.data for section in measured]
    return {0: _extend(everything), 1: _extend(boot), 2: _extend(application)}


def measure_certificate(signature: bytes, *, file: str = "eif") -> bytes:
    """PCR8: the certificate (DER) of a signature section's first entry.

    Only measured: that the signature over PCR0 holds is for the hypervisor to check.
    """
    import cbor2  # only signed images need it, and the local platform signs none

    try:
        pem = bytes(cbor2.loads(signature)[0]["signing_certificate"]).decode("ascii")
        body = pem.split("-----BEGIN CERTIFICATE-----")[1].split("-----END CERTIFICATE-----")[0]
        der = base64.b64decode("".join(body.split()), validate=True)
    except (cbor2.CBORDecodeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise ImageError(
            file, "signature", found="other bytes", expected="CBOR with a PEM certificate"
        ) from error
    return _extend([der])


def _extend(parts: Sequence[bytes]) -> bytes:
    digest = sha384()
    for part in parts:
        digest.update(part)
    return sha384(PCR_START + digest.digest()).digest()
