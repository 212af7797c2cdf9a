"""The local Tee at the end of a socket that an emulated security module answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.emulators import nsm, pki
from enclave.tee.local import LocalTee
from enclave.tee.nsm import Nsm, NsmError

MODULE = "i-0123456789abcdef0-enc0123456789abcdef"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PCRS = {0: b"\x01" * 48, 1: b"\x02" * 48, 2: b"\x03" * 48}


@pytest.fixture
def module() -> nsm.NsmEmulator:
    return nsm.NsmEmulator(PCRS, pki.create(NOW), lambda: NOW, MODULE)


@pytest.fixture
def tee(module: nsm.NsmEmulator, tmp_path: Path) -> Iterator[LocalTee]:
    ours, theirs = socket.socketpair()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    served = threading.Thread(target=nsm.serve, args=(module, ours))
    served.start()
    tee = LocalTee(theirs.detach(), "unix", str(listener.detach()), str(tmp_path))
    yield tee
    tee.close()
    served.join()
    ours.close()


def test_it_measures_as_its_module_says(tee: LocalTee) -> None:
    assert tee.measurements() == PCRS


@pytest.mark.attack(41)
def test_every_register_is_locked_before_the_first_document(
    tee: LocalTee, module: nsm.NsmEmulator
) -> None:
    asked = Nsm(module.transact)
    assert asked.describe().locked_pcrs == frozenset(range(32))
    with pytest.raises(NsmError):
        asked.extend_pcr(16, b"after the fact")
