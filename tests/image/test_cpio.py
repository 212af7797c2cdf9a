"""The cpio archives: one encoding, read back strictly, unpacked without leaving the folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.image import ImageError, cpio
from bench.image.cpio import FIELDS, File

FILES = (
    File("a-b", b"between a and a/"),
    File("a/empty", b""),
    File("a/b/run", b"#!/bin/sh\n", executable=True),
    File("z", bytes(range(256))),
)


def refused(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        cpio.decode(data, file="some.cpio")
    assert caught.value.file == "some.cpio"
    return caught.value


def raw(name: bytes, data: bytes = b"", **fields: int) -> bytes:
    """One entry as anybody may write it."""
    values = dict.fromkeys(FIELDS, 0)
    values |= {"ino": 1, "mode": 0o100644, "nlink": 1}
    values |= {"namesize": len(name) + 1, "filesize": len(data)} | fields
    out = b"070701" + b"".join(b"%08X" % value for value in values.values()) + name + b"\0"
    out += bytes(-len(out) % 4) + data
    return out + bytes(-len(out) % 4)


END = raw(b"TRAILER!!!", ino=0, mode=0)


def test_what_is_written_is_read_in_sorted_order() -> None:
    assert cpio.decode(cpio.encode(FILES)) == tuple(sorted(FILES, key=lambda file: file.path))


def test_the_order_of_the_files_does_not_matter() -> None:
    assert cpio.encode(reversed(FILES)) == cpio.encode(FILES)


def test_the_test_writes_what_the_writer_writes() -> None:
    assert raw(b"z", b"12345") + END == cpio.encode([File("z", b"12345")])
    assert cpio.encode([]) == END


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio program to compare with")
def test_the_cpio_program_reads_it() -> None:
    listing = subprocess.run(
        ["cpio", "--list", "--quiet"], input=cpio.encode(FILES), capture_output=True, check=True
    )
    assert listing.stdout.decode().split() == ["a", "a-b", "a/b", "a/b/run", "a/empty", "z"]


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "a\0b", "é", "TRAILER!!!"]
)
def test_a_path_that_leaves_or_hides_is_refused_by_both(path: str) -> None:
    with pytest.raises(ImageError, match="field path"):
        cpio.encode([File(path, b"")])
    if path != "TRAILER!!!":
        assert refused(raw(path.encode("latin-1")) + END).field == "path"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mtime": 1}, "mtime of 'f'"),
        ({"uid": 1000}, "uid of 'f'"),
        ({"gid": 1000}, "gid of 'f'"),
        ({"ino": 7}, "ino of 'f'"),
        ({"nlink": 2}, "nlink of 'f'"),
        ({"rdevmajor": 1}, "rdevmajor of 'f'"),
        ({"devminor": 1}, "devminor of 'f'"),
        ({"check": 1}, "check of 'f'"),
        ({"mode": 0o100600}, "mode of 'f'"),
        ({"mode": 0o104755}, "mode of 'f'"),
        ({"mode": 0o120777}, "mode of 'f'"),
        ({"mode": 0o020666}, "mode of 'f'"),
        ({"filesize": 10_000}, "length"),
    ],
)
def test_one_wrong_field_is_named(fields: dict[str, int], field: str) -> None:
    assert refused(raw(b"f", b"", **fields) + END).field == field


@pytest.mark.parametrize(
    ("data", "field"),
    [
        pytest.param(b"", "header", id="empty"),
        pytest.param(raw(b"f"), "header", id="no trailer"),
        pytest.param(raw(b"f").replace(b"070701", b"070702", 1), "header", id="crc format"),
        pytest.param(raw(b"f", ino=10).replace(b"A", b"a", 1) + END, "header", id="small digits"),
        pytest.param(raw(b"f").replace(b"0000", b"+000", 1), "header", id="sign for a digit"),
        pytest.param(raw(b"f", namesize=0) + END, "namesize of ''", id="name without a length"),
        pytest.param(raw(b"g") + raw(b"f", ino=2) + END, "order", id="unsorted"),
        pytest.param(raw(b"f") + raw(b"f", ino=2) + END, "order", id="one path twice"),
        pytest.param(raw(b"d/f") + END, "archive", id="no folder before its file"),
        pytest.param(raw(b"d", mode=0o40755, nlink=2) + END, "archive", id="empty folder"),
        pytest.param(raw(b"f") + END + b"\0", "archive", id="bytes after the trailer"),
        pytest.param(raw(b"f", b"1")[:-1] + b"\1" + END, "archive", id="padding"),
        pytest.param(raw(b"f")[:-1] + b"\1" + END, "archive", id="padding of the name"),
        pytest.param(
            raw(b"f") + raw(b"TRAILER!!!", ino=0, mode=0o100644), "archive", id="trailer's mode"
        ),
        pytest.param(raw(b"d") + raw(b"d/f", ino=2) + END, "path", id="a file as a folder"),
    ],
)
def test_one_malformed_archive_is_named(data: bytes, field: str) -> None:
    with pytest.raises(ImageError) as caught:
        cpio.decode(data)
    assert caught.value.field == field


def test_every_changed_byte_is_refused_or_is_content() -> None:
    data = cpio.encode(FILES)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        try:
            files = cpio.decode(bytes(changed))
        except ImageError:
            continue
        assert cpio.encode(files) == changed  # another name or content, and canonical
        assert files != cpio.decode(data)


def test_unpacked_files_have_fixed_modes_whatever_the_umask(
    tmp_path: Path, umask: Callable[[int], None]
) -> None:
    umask(0o077)
    cpio.unpack(cpio.encode(FILES), tmp_path)
    modes = {
        path.relative_to(tmp_path).as_posix(): path.stat().st_mode & 0o777
        for path in tmp_path.rglob("*")
    }
    assert modes == {
        "a": 0o755,
        "a-b": 0o644,
        "a/b": 0o755,
        "a/b/run": 0o755,
        "a/empty": 0o644,
        "z": 0o644,
    }
    assert (tmp_path / "z").read_bytes() == bytes(range(256))


def test_a_second_archive_may_add_but_not_replace(tmp_path: Path) -> None:
    cpio.unpack(cpio.encode(FILES), tmp_path)
    cpio.unpack(cpio.encode([File("a/more", b"more")]), tmp_path)
    assert (tmp_path / "a" / "more").read_bytes() == b"more"
    with pytest.raises(ImageError, match="z, which exists"):
        cpio.unpack(cpio.encode([File("z", b"other")]), tmp_path)
    assert (tmp_path / "z").read_bytes() == bytes(range(256))


@pytest.mark.parametrize("path", ["link", "link/f"])
def test_a_link_in_the_way_is_not_followed(tmp_path: Path, path: str) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    with pytest.raises(ImageError, match="link, which exists"):
        cpio.unpack(cpio.encode([File(path, b"x")]), inside)
    assert not list(outside.iterdir())
