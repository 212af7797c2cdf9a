"""cpio archives in the `newc` format of the Linux kernel (initramfs buffer format), canonical.

There is one encoding of a set of files: sorted paths, each folder before what it holds, owner 0,
time 0, modes 0644, 0755 and 040755, inodes counted from 1, no links and no devices. The reader
takes that encoding alone: a field that says something else is refused by name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bench.image import ImageError

MAGIC = b"070701"
TRAILER = "TRAILER!!!"
FIELDS = (
    "ino", "mode", "nlink", "uid", "gid", "mtime", "filesize",
    "devmajor", "devminor", "rdevmajor", "rdevminor", "namesize", "check",
)  # fmt: skip
HEADER_BYTES = len(MAGIC) + 8 * len(FIELDS)
HEX = b"0123456789ABCDEF"

PLAIN_MODE = stat.S_IFREG | 0o644
EXECUTABLE_MODE = stat.S_IFREG | 0o755
FOLDER_MODE = stat.S_IFDIR | 0o755


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; `path` is relative, with forward slashes."""

    path: str
    data: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    path: str
    mode: int
    data: bytes


def encode(files: Iterable[File]) -> bytes:
    """The archive of `files` and of the folders that they need."""
    out = bytearray()
    for inode, entry in enumerate(_entries(files), start=1):
        _append(out, inode, entry)
    _append(out, 0, _Entry(TRAILER, 0, b""))
    return bytes(out)


def decode(data: bytes, *, file: str = "cpio") -> tuple[File, ...]:
    """The files of a canonical archive, sorted.

    1. Every header is of this format, and all its fields have the one value that they can have.
    2. Paths are relative and stay inside; they rise strictly.
    3. The archive is what `encode` makes of the files: folders, padding, digits and end included.
    """
    files = []
    last = ""
    for entry in _read(data, file):
        _check_path(entry.path, file)  # 2
        if entry.path <= last:
            raise ImageError(
                file, "order", found=entry.path, expected=f"a path after {last}", hint="sort paths"
            )
        last = entry.path
        if not stat.S_ISDIR(entry.mode):
            files.append(File(entry.path, entry.data, entry.mode == EXECUTABLE_MODE))
    if encode(files) != data:  # 3
        hint = "a folder too many or missing, padding, digits, or bytes after the trailer"
        raise ImageError(
            file, "archive", found="another encoding", expected="the canonical one", hint=hint
        )
    return tuple(files)


def unpack(data: bytes, folder: Path, *, file: str = "cpio") -> None:
    """Write a canonical archive below `folder`; nothing that is there is replaced or followed."""
    for entry in _entries(decode(data, file=file)):
        path = folder / entry.path
        try:
            if stat.S_ISDIR(entry.mode):
                _make_folder(path)
            else:
                _write(path, entry)
        except (FileExistsError, NotADirectoryError) as error:
            raise ImageError(
                file, "path", found=f"{entry.path}, which exists", expected="a new path"
            ) from error


def _make_folder(path: Path) -> None:
    try:
        path.mkdir()
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise
    else:
        path.chmod(stat.S_IMODE(FOLDER_MODE))  # whatever the umask


def _write(path: Path, entry: _Entry) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as out:
        out.write(entry.data)
        os.fchmod(out.fileno(), stat.S_IMODE(entry.mode))


def _entries(files: Iterable[File]) -> list[_Entry]:
    entries: dict[str, _Entry] = {}
    for file in files:
        _check_path(file.path, "cpio")
        if file.path in entries:
            raise ImageError("cpio", "path", found=f"{file.path} twice", expected="it once")
        mode = EXECUTABLE_MODE if file.executable else PLAIN_MODE
        entries[file.path] = _Entry(file.path, mode, file.data)
    for path in list(entries):
        for parent in PurePosixPath(path).parents:
            name = str(parent)
            found = entries.setdefault(name, _Entry(name, FOLDER_MODE, b""))
            if found.mode != FOLDER_MODE:
                raise ImageError("cpio", "path", found=f"{name} as a file", expected="a folder")
    entries.pop(".", None)
    return [entries[path] for path in sorted(entries)]


def _check_path(path: str, file: str) -> None:
    parts = path.split("/")
    is_plain = path.isascii() and path.isprintable() and path != TRAILER
    if not is_plain or any(part in ("", ".", "..") for part in parts):
        hint = "an archive may only name files below the folder it is unpacked in"
        raise ImageError(file, "path", found=repr(path), expected="relative ASCII", hint=hint)


def _header(inode: int, entry: _Entry) -> dict[str, int]:
    values = dict.fromkeys(FIELDS, 0)
    values["ino"] = inode
    values["mode"] = entry.mode
    values["nlink"] = 2 if stat.S_ISDIR(entry.mode) else 1
    values["filesize"] = len(entry.data)
    values["namesize"] = len(entry.path.encode()) + 1
    return values


def _append(out: bytearray, inode: int, entry: _Entry) -> None:
    out += MAGIC + b"".join(b"%08X" % value for value in _header(inode, entry).values())
    out += entry.path.encode() + b"\0"
    out += bytes(-len(out) % 4)
    out += entry.data
    out += bytes(-len(out) % 4)


def _read(data: bytes, file: str) -> Iterator[_Entry]:
    position = 0
    inode = 1
    while True:
        found = _read_header(data, position, file)
        name_end = position + HEADER_BYTES + found["namesize"]
        begin = name_end + -name_end % 4
        end = begin + found["filesize"]
        if end > len(data):
            raise ImageError(file, "length", found=len(data), expected=f"{end} or more")
        try:
            path = data[position + HEADER_BYTES : name_end - 1].decode("ascii")
        except UnicodeDecodeError as error:
            raise ImageError(file, "path", found="other bytes", expected="ASCII") from error
        entry = _Entry(path, found["mode"], data[begin:end])
        is_trailer = path == TRAILER
        _check_header(found, 0 if is_trailer else inode, entry, file)  # 1
        if is_trailer:
            return
        yield entry
        position = end + -end % 4
        inode += 1


def _read_header(data: bytes, position: int, file: str) -> dict[str, int]:
    header = data[position : position + HEADER_BYTES]
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise ImageError(
            file, "header", found=header[:6], expected=f"{MAGIC!r} and {HEADER_BYTES} bytes in all"
        )
    digits = header[len(MAGIC) :]
    if digits.strip(HEX):
        raise ImageError(file, "header", found=digits, expected="hexadecimal digits")
    return {field: int(digits[8 * index : 8 * index + 8], 16) for index, field in enumerate(FIELDS)}


def _check_header(found: dict[str, int], inode: int, entry: _Entry, file: str) -> None:
    if inode and entry.mode not in (PLAIN_MODE, EXECUTABLE_MODE, FOLDER_MODE):
        raise ImageError(
            file,
            f"mode of {entry.path!r}",
            found=f"{entry.mode:o}",
            expected="100644, 100755 or 40755",
            hint="links and devices have no place in an image",
        )
    for field, expected in _header(inode, entry).items():
        if found[field] != expected:
            raise ImageError(
                file, f"{field} of {entry.path!r}", found=found[field], expected=expected
            )
