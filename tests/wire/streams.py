"""In-memory byte streams: two ends of one connection, with every byte between them in reach."""

from __future__ import annotations

from collections.abc import Callable


class Pipe:
    """What one side writes and the other reads; `step` limits how much one read returns."""

    def __init__(self, step: int = 1 << 30) -> None:
        self.data = bytearray()
        self.writes: list[int] = []
        self._step = step

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(len(data))
        self.data += data

    def close(self) -> None:
        pass

    def recv_into(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self.data), self._step)
        buffer[:count] = self.data[:count]
        del self.data[:count]
        return count


class End:
    """One end of two pipes; `spoil` may change what this end sends."""

    def __init__(
        self, out: Pipe, into: Pipe, spoil: Callable[[bytes], bytes] = lambda data: data
    ) -> None:
        self._out, self._into, self.spoil = out, into, spoil

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        self._out.sendall(self.spoil(bytes(data)))

    def close(self) -> None:
        pass

    def recv_into(self, buffer: memoryview) -> int:
        return self._into.recv_into(buffer)


def pair(step: int = 1 << 30) -> tuple[End, End]:
    """Two connected ends."""
    there, back = Pipe(step), Pipe(step)
    return End(there, back), End(back, there)
