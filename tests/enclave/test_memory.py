from __future__ import annotations

import errno
import gc
import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from enclave import memory
from enclave.memory import Buffer, exhaustible, peak_rss_bytes, rss_bytes, uncollected

# How many MiB stay resident of 32 that were freed, within and after.
FREEING = """
from enclave.memory import STATUS, returning
def kept():
    before = resident()
    blocks = [bytearray(b"x" * (1 << 20)) for _ in range(32)]
    del blocks
    return resident() - before
def resident():
    return next(int(l.split()[1]) for l in STATUS.open() if l.startswith("VmRSS")) >> 10
bytearray(b"x" * (8 << 20))  # after which glibc keeps blocks up to that size
with returning():
    inside = kept()
print(inside, kept())
"""


def test_a_buffer_is_private_zeroed_and_writable() -> None:
    buffer = Buffer(3 * mmap.PAGESIZE + 1)
    assert len(buffer.view) == 3 * mmap.PAGESIZE + 1
    assert not any(buffer.view)
    buffer.view[-1] = 7
    assert buffer.view[-1] == 7


def test_a_kernel_without_huge_pages_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.mmap, "MADV_HUGEPAGE", 9999)  # no such advice: EINVAL
    with pytest.raises(OSError, match="Invalid argument"):
        mmap.mmap(-1, 1).madvise(9999)
    assert len(Buffer(10).view) == 10


def test_what_is_released_reads_as_zeros_and_the_rest_stays() -> None:
    page = mmap.PAGESIZE
    buffer = Buffer(4 * page)
    buffer.view[:] = b"\x01" * (4 * page)
    buffer.release(page // 2, 2 * page)  # one whole page lies within
    assert buffer.view[:page] == b"\x01" * page
    assert not any(buffer.view[page : 2 * page])
    assert buffer.view[2 * page :] == b"\x01" * (2 * page)


@pytest.mark.parametrize("fails", [False, True])
def test_garbage_is_collected_again_afterwards_but_not_what_was_there(fails: bool) -> None:
    frozen = gc.get_freeze_count()
    try:
        with uncollected():
            assert not gc.isenabled()
            if fails:
                raise OSError
    except OSError:
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() > frozen
    gc.unfreeze()


def test_peak_memory_is_read_as_the_kernel_writes_it(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n")
    assert peak_rss_bytes(status) == 2048 * 1024
    assert rss_bytes(status) == 1024 * 1024
    status.write_text("Name:\tpython\n")
    with pytest.raises(OSError, match="no VmHWM line"):
        peak_rss_bytes(status)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(OSError(errno.ENOMEM, "Cannot allocate memory"), id="mmap"),
        pytest.param(
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), id="torch"
        ),
        pytest.param(RuntimeError("can't start new thread"), id="thread"),
        pytest.param(MemoryError(), id="python"),
    ],
)
def test_memory_that_runs_out_is_called_so_whoever_notices(error: Exception) -> None:
    with pytest.raises(MemoryError), exhaustible():
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ECONNRESET, "reset"), RuntimeError("a bug")])
def test_other_errors_are_left_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, exhaustible():
        raise error
    assert caught.value is error


def test_what_is_freed_while_returning_is_gone_at_once_and_later_is_kept() -> None:
    """In a process of its own: how much is kept is a setting of the whole process."""
    done = subprocess.run(
        [sys.executable, "-c", FREEING], capture_output=True, text=True, check=True
    )
    inside, outside = map(int, done.stdout.split())
    assert inside < 4
    assert outside > 28
