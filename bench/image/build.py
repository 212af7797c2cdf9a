"""Build an image of an enclave folder, and unpack one.

Two builds of the same files are the same bytes: paths are sorted, times, owners and modes fixed,
and the metadata holds no build time. Ramdisk 1 holds the boot code (`init`) and the lock file,
ramdisk 2 the rest below `enclave/`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bench import files
from bench.image import ImageError, cpio, eif
from bench.image.eif import Kind
from bench.image.measurements import Measurements, encode, measure, platform_of

BUILD_TOOL = "bench.image.build"
BUILD_TOOL_VERSION = "1"
MIB = 1024 * 1024
CMDLINE_BYTES = 2047  # what Linux takes on x86-64, less its end mark

BOOT_FILES = {"init.py": "init", "requirements.lock": "requirements.lock"}
EXECUTABLE = "init"
UNMEASURED_NAMES = ("__pycache__", "Dockerfile")
UNMEASURED_SUFFIXES = (".md", ".pyc", ".part")


def build_image(
    source: Path,
    *,
    cmdline: str,
    kernel: bytes,
    default_memory_mib: int,
    default_cpus: int,
    image: Path,
    measurements: Path,
) -> Measurements:
    """Write the image of folder `source` and its measurements, each whole or not at all.

    `cmdline` holds `platform=NAME`. ImageError for a link or a missing boot file in `source`.
    """
    if not (cmdline.isascii() and cmdline.isprintable() and len(cmdline) <= CMDLINE_BYTES):
        expected = f"printable ASCII, {CMDLINE_BYTES} bytes at most"
        raise ImageError("cmdline", "whole", found=repr(cmdline), expected=expected)
    platform = platform_of(cmdline, file="cmdline")
    boot, application = read_folder(source)
    sections = (
        eif.Section(Kind.KERNEL, kernel),
        eif.Section(Kind.CMDLINE, cmdline.encode()),
        eif.Section(Kind.METADATA, _metadata(platform)),
        eif.Section(Kind.RAMDISK, cpio.encode(boot)),
        eif.Section(Kind.RAMDISK, cpio.encode(application)),
    )
    data = eif.encode(eif.Image(sections, default_memory_mib * MIB, default_cpus))
    result = measure(data, build_tool=BUILD_TOOL)
    files.replace(image, data)
    files.replace(measurements, encode(result))
    return result


def unpack_image(image: eif.Image, root: Path) -> None:
    """What a kernel makes of an image's ramdisks: one tree in `root`, an empty folder.

    The command line, measured too, becomes the file `cmdline`: there is no kernel to tell it.
    """
    for ramdisk in image.data(Kind.RAMDISK):
        cpio.unpack(ramdisk, root)
    with (root / "cmdline").open("xb") as out:
        out.write(image.data(Kind.CMDLINE)[0])


def read_folder(source: Path) -> tuple[list[cpio.File], list[cpio.File]]:
    """The measured files of an enclave folder: those of ramdisk 1, those of ramdisk 2."""
    boot, application = [], []
    for path in sorted(_walk(source)):
        name = path.relative_to(source).as_posix()
        if name in BOOT_FILES:
            place = BOOT_FILES[name]
            boot.append(cpio.File(place, path.read_bytes(), place == EXECUTABLE))
        else:
            application.append(cpio.File(f"enclave/{name}", path.read_bytes()))
    missing = set(BOOT_FILES.values()) - {file.path for file in boot}
    if missing or not application:
        expected = f"{', '.join(BOOT_FILES)} and more files"
        raise ImageError(
            source, "files", found=f"no {', '.join(sorted(missing)) or 'code'}", expected=expected
        )
    return boot, application


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in UNMEASURED_NAMES:
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _walk(Path(entry.path))
            elif not stat.S_ISREG(mode):
                hint = "only plain files are measured: put the file itself there"
                raise ImageError(
                    entry.path, "type", found="a link or device", expected="a file", hint=hint
                )
            elif not entry.name.endswith(UNMEASURED_SUFFIXES):
                yield Path(entry.path)


def _metadata(platform: str) -> bytes:
    """The specification's required fields; nothing of them varies or is measured."""
    build = {
        "BuildTime": "1970-01-01T00:00:00Z",
        "BuildTool": BUILD_TOOL,
        "BuildToolVersion": BUILD_TOOL_VERSION,
        "OperatingSystem": "Linux",
        "KernelVersion": "see the kernel section",
    }
    fields = {
        "ImageName": f"enclave-{platform}",
        "ImageVersion": "1",
        "BuildMetadata": build,
        "DockerInfo": {},
        "CustomMetadata": {},
    }
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
