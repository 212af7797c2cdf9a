"""Memory of this process: private buffers, and how much of it was ever resident."""

from __future__ import annotations

import mmap
from pathlib import Path

STATUS = Path("/proc/self/status")


class Buffer:
    """Anonymous private memory: never a file, never shared, counted by RLIMIT_DATA."""

    def __init__(self, length: int) -> None:
        self._map = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.view = memoryview(self._map)

    def release(self, start: int, length: int) -> None:
        """Give back the whole pages within these bytes; they read as zeros from now on."""
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (start + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, end - first)


def peak_rss_bytes(status: Path = STATUS) -> int:
    """VmHWM of /proc/self/status in bytes; OSError where the kernel does not tell.

    Not VmPeak (that is address space) and not getrusage (its maximum survives exec and so counts
    the launcher).
    """
    for line in status.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{status} holds no VmHWM line")
