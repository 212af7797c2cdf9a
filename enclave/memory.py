"""Memory of this process: private buffers, what is given back when, how much was ever resident."""

from __future__ import annotations

import ctypes
import errno
import gc
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
KIB = 1024
# As torch's allocator and Python's threads say it, whose stacks are memory too.
EXHAUSTED = ("can't allocate memory", "can't start new thread")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h


class Buffer:
    """Anonymous private memory: never a file, never shared, counted by RLIMIT_DATA.

    In huge pages where the kernel has them, since the first touch of small ones costs more than
    reading what goes there.
    """

    def __init__(self, length: int) -> None:
        self._map = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with suppress(OSError):  # EINVAL: a kernel built without them
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self.view = memoryview(self._map)

    def release(self, start: int, length: int) -> None:
        """Give back the whole pages within these bytes; they read as zeros from now on."""
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (start + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first:
            with suppress(OSError):  # else the kernel fills a huge page up again, zeros and all
                self._map.madvise(mmap.MADV_NOHUGEPAGE)
            self._map.madvise(mmap.MADV_DONTNEED, first, end - first)


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection inside, and never again of what is there at the end.

    Importing torch makes objects by the hundred thousand that all stay: looking through them again
    and again costs a tenth of the import, and later a pause in the midst of a request.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def returning() -> Iterator[None]:
    """Every large block that is freed inside goes back to the kernel, whatever lies behind it.

    glibc does that too at first, but the first large block that is freed teaches it to keep others
    of that size: weights that are repacked one by one then lie in a heap full of holes, a fifth of
    a large model's size (mallopt(3), M_MMAP_THRESHOLD). Afterwards it keeps what it can, so that no
    request has to wait for the kernel's pages.
    """
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 64 * KIB)
    try:
        yield
    finally:
        mallopt(M_MMAP_THRESHOLD, 32 * KIB * KIB)  # the most it takes
        mallopt(M_TRIM_THRESHOLD, 64 * KIB * KIB)  # twice that, which is its own rule


@contextmanager
def exhaustible() -> Iterator[None]:
    """MemoryError where memory runs out inside, whoever says so and how.

    torch raises a RuntimeError, mmap an OSError; neither is anything else's word for it.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ENOMEM or any(word in str(error) for word in EXHAUSTED):
            raise MemoryError(str(error).partition("\n")[0]) from None
        raise


def peak_rss_bytes(status: Path = STATUS) -> int:
    """VmHWM of /proc/self/status in bytes; OSError where the kernel does not tell.

    Not VmPeak (that is address space) and not getrusage (its maximum survives exec and so counts
    the launcher).
    """
    return _status_bytes("VmHWM", status)


def rss_bytes(status: Path = STATUS) -> int:
    """VmRSS, what is resident now; the kernel may lag behind by some pages per thread or CPU."""
    return _status_bytes("VmRSS", status)


def _status_bytes(field: str, status: Path) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * KIB
    raise OSError(f"{status} holds no {field} line")
