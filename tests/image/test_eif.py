"""The EIF format: round trips, every way a file can be wrong, and the verdicts of the corpus."""

from __future__ import annotations

import json
import struct
import zlib
from hashlib import sha384
from pathlib import Path

import pytest

from bench.image import ImageError, eif
from bench.image.eif import HEADER, Image, Kind, Section

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "eif"

KERNEL = Section(Kind.KERNEL, b"kernel")
CMDLINE = Section(Kind.CMDLINE, b"console=ttyS0")
METADATA = Section(Kind.METADATA, b'{"ImageName":"t"}')
FIRST = Section(Kind.RAMDISK, b"first")
SECOND = Section(Kind.RAMDISK, b"second ramdisk")
SIGNATURE = Section(Kind.SIGNATURE, b"\x80")
SECTIONS = (KERNEL, CMDLINE, METADATA, FIRST, SECOND)

START_OF_TABLES = 28


def build(*sections: Section, version: int = 4) -> bytes:
    return eif.encode(Image(sections or SECTIONS, 1 << 30, 2, version))


def with_crc(data: bytes | bytearray) -> bytes:
    """The same file with the CRC that it should have: what comes after the CRC check is tested."""
    crc = zlib.crc32(data[HEADER.size :], zlib.crc32(data[: HEADER.size - 4]))
    return bytes(data[: HEADER.size - 4]) + struct.pack(">I", crc) + bytes(data[HEADER.size :])


def patched(offset: int, form: str, value: int) -> bytes:
    data = bytearray(build())
    struct.pack_into(form, data, offset, value)
    return with_crc(data)


def refused(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        eif.decode(data, file="some.eif")
    assert caught.value.file == "some.eif"
    return caught.value


def test_what_is_written_is_read() -> None:
    image = Image((*SECTIONS, SIGNATURE), 3 << 30, 4, 4, arm64=True)
    assert eif.decode(eif.encode(image)) == image


@pytest.mark.parametrize("version", [2, 3])
def test_older_versions_have_no_metadata(version: int) -> None:
    sections = (KERNEL, CMDLINE, FIRST)
    assert eif.decode(build(*sections, version=version)).sections == sections


def test_header_lies_where_the_specification_says() -> None:
    data = build()
    assert HEADER.size == 548
    assert data[:8] == b".eif\x00\x04\x00\x00"
    assert struct.unpack_from(">QQHH", data, 8) == (1 << 30, 2, 0, 5)
    assert struct.unpack_from(">5Q", data, START_OF_TABLES) == (548, 566, 591, 620, 637)
    assert struct.unpack_from(">5Q", data, START_OF_TABLES + 256) == (6, 13, 17, 5, 14)
    assert data[548:566] == b"\x00\x01\x00\x00" + struct.pack(">Q", 6) + b"kernel"


def test_pcrs_cover_what_they_should() -> None:
    def pcr(data: bytes) -> bytes:
        return sha384(bytes(48) + sha384(data).digest()).digest()

    found = eif.measure(SECTIONS)
    assert found[0] == pcr(b"kernelconsole=ttyS0firstsecond ramdisk")
    assert found[1] == pcr(b"kernelconsole=ttyS0first")
    assert found[2] == pcr(b"second ramdisk")


def test_a_ramdisk_that_occurs_twice_is_measured_as_first_and_second() -> None:
    found = eif.measure((KERNEL, CMDLINE, FIRST, FIRST))
    assert found[1] == eif.measure((KERNEL, CMDLINE, FIRST))[0]
    assert found[2] != eif.measure((KERNEL, CMDLINE, FIRST))[2]


@pytest.mark.attack(17)
def test_metadata_and_signature_are_not_measured() -> None:
    bare = eif.measure((KERNEL, CMDLINE, FIRST, SECOND))
    assert eif.measure((KERNEL, METADATA, CMDLINE, FIRST, SECOND, SIGNATURE)) == bare


def test_every_flipped_bit_is_refused() -> None:
    data = build()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        refused(bytes(changed))


def test_every_shorter_file_is_refused() -> None:
    data = build()
    for length in range(len(data)):
        refused(data[:length])


@pytest.mark.parametrize(
    ("offset", "form", "value", "field"),
    [
        pytest.param(0, ">I", 0x2E656C66, "magic", id="magic"),
        pytest.param(4, ">H", 1, "version", id="version 1"),
        pytest.param(4, ">H", 5, "version", id="version 5"),
        pytest.param(26, ">H", 1, "num_sections", id="one section"),
        pytest.param(26, ">H", 33, "num_sections", id="33 sections"),
        pytest.param(26, ">H", 4, "section_offsets", id="a section more than counted"),
        pytest.param(START_OF_TABLES, ">Q", 549, "section_offsets[0]", id="gap"),
        pytest.param(START_OF_TABLES + 8, ">Q", 565, "section_offsets[1]", id="overlap"),
        pytest.param(START_OF_TABLES + 8, ">Q", 548, "section_offsets[1]", id="twice the same"),
        pytest.param(START_OF_TABLES + 8, ">Q", 2**64 - 1, "section_offsets[1]", id="far away"),
        pytest.param(START_OF_TABLES + 256, ">Q", 7, "section 0 size", id="sizes disagree"),
        pytest.param(START_OF_TABLES + 256, ">Q", 2**63, "section_sizes[0]", id="huge"),
        pytest.param(START_OF_TABLES + 288, ">Q", 13, "section 4 size", id="last one shorter"),
        pytest.param(START_OF_TABLES + 256 + 40, ">Q", 1, "section_sizes", id="unused entry"),
        pytest.param(548, ">H", 0, "section 0 type", id="type 0"),
        pytest.param(548, ">H", 6, "section 0 type", id="type 6"),
        pytest.param(548, ">H", 2, "number of kernel sections", id="no kernel"),
        pytest.param(566, ">H", 1, "number of kernel sections", id="two kernels"),
        pytest.param(566, ">H", 3, "number of cmdline sections", id="no command line"),
        pytest.param(591, ">H", 3, "number of metadata sections", id="no metadata in version 4"),
        pytest.param(620, ">H", 5, "number of metadata sections", id="two metadata sections"),
        pytest.param(4, ">H", 3, "number of metadata sections", id="metadata in version 3"),
        pytest.param(603, ">B", 0x28, "metadata", id="metadata is no JSON"),
    ],
)
def test_one_wrong_field_is_named(offset: int, form: str, value: int, field: str) -> None:
    assert refused(patched(offset, form, value)).field == field


def test_bytes_after_the_last_section_are_refused() -> None:
    assert refused(with_crc(build() + b"\x00")).field == "end of file"


def test_reserved_fields_are_ignored() -> None:
    for offset, form in ((24, ">H"), (540, ">I"), (550, ">H")):
        assert eif.decode(patched(offset, form, 1)).sections == SECTIONS


@pytest.mark.parametrize(
    ("sections", "field"),
    [
        pytest.param((CMDLINE, FIRST, KERNEL, METADATA), "order", id="ramdisk before kernel"),
        pytest.param(
            (*SECTIONS, SIGNATURE, SIGNATURE), "number of signature sections", id="two signatures"
        ),
        pytest.param(
            (*SECTIONS, Section(Kind.SIGNATURE, bytes(32769))), "signature", id="long signature"
        ),
        pytest.param(
            (KERNEL, CMDLINE, Section(Kind.METADATA, b"[" * 100_000)), "metadata", id="deep JSON"
        ),
        pytest.param((*SECTIONS, *[FIRST] * 28), "num_sections", id="33 sections"),
    ],
)
def test_the_writer_makes_nothing_that_the_reader_refuses(
    sections: tuple[Section, ...], field: str
) -> None:
    with pytest.raises(ImageError) as caught:
        build(*sections)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "signature",
    [b"", b"\x80", b"\xff", b"\x81\xa0", b"\x81\xa1\x73signing_certificate\x83\x01\x02\x03"],
)
def test_a_signature_section_without_a_certificate_has_no_pcr8(signature: bytes) -> None:
    with pytest.raises(ImageError) as caught:
        eif.measure_certificate(signature)
    assert caught.value.field == "signature"


@pytest.mark.attack(17, 18)
@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"{CORPUS} is absent: no corpus of EIFs here")
def test_corpus_verdicts_and_pcrs() -> None:
    cases = json.loads((CORPUS / "index.json").read_text())
    assert {case["verdict"] for case in cases} >= {"accept", "reject"}
    for case in cases:
        data = (CORPUS / case["file"]).read_bytes()
        if case["verdict"] == "reject":
            refused(data)
            continue
        image = eif.decode(data, file=case["file"])
        found = eif.measure(image.sections)
        for signature in image.data(Kind.SIGNATURE):
            found[8] = eif.measure_certificate(signature)
        expected = {int(name[3:]): case[name] for name in case if name.startswith("PCR")}
        assert {index: pcr.hex() for index, pcr in found.items()} == expected, case["file"]
        assert eif.encode(image) == data, case["file"]
