"""Enclave images and what is measured of them. The CRC is put right, or nothing would be reached
behind it."""

from __future__ import annotations

import struct
import zlib

from bench.image import ImageError, cpio, eif, measurements
from bench.image.eif import CRC_OFFSET, HEADER, Image, Kind, Section

ARCHIVE = cpio.encode([cpio.File("init", b"code"), cpio.File("enclave/boot.py", b"more")])
SECTIONS = (
    Section(Kind.KERNEL, b"kernel"),
    Section(Kind.CMDLINE, b"platform=local owner=00"),
    Section(Kind.METADATA, b"{}"),
    Section(Kind.RAMDISK, ARCHIVE),
)
SEEDS = (
    eif.encode(Image(SECTIONS, 1 << 30, 2)),
    eif.encode(Image((*SECTIONS, Section(Kind.SIGNATURE, b"\x80")), 1 << 30, 2)),
    eif.encode(Image((*SECTIONS[:2], SECTIONS[3]), 1 << 30, 2, version=2)),
)


def judge(data: bytes) -> None:
    if len(data) >= HEADER.size:
        crc = zlib.crc32(data[HEADER.size :], zlib.crc32(data[:CRC_OFFSET]))
        data = data[:CRC_OFFSET] + struct.pack(">I", crc) + data[HEADER.size :]
    try:
        image = eif.decode(data)
        for signature in image.data(Kind.SIGNATURE):
            eif.measure_certificate(signature)
        measurements.measure(data, build_tool="fuzz")
    except ImageError:
        return
    assert eif.decode(eif.encode(image)) == image
