"""Files that are whole or not there: written under another name, synced, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path, *, secret: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which takes the name `path` when the block ends well and else vanishes.

    With `secret` it is readable by its owner alone from its first byte.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with os.fdopen(os.open(part, flags, 0o600 if secret else 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def replace(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Give `path` new content in one step."""
    with replacing(path, secret=secret) as file:
        file.write(data)
