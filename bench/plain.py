"""The plain server: the same model, engine, frames and socket kind, and nothing confidential.

No cryptography, attestation or receipt. What an enclave costs is what its requests take over this.
`python -m bench.plain` serves on inherited listening sockets and says so, once ready, on a pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from enclave.memory import Buffer, peak_rss_bytes
from enclave.stages import Marks, Stages
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel, Type
from enclave.wire.messages import Request, Response


def main() -> None:
    """Load, announce, serve for ever."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("service", "echo", "ready", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder with source.json")
    arguments = parser.parse_args()
    server = Plain(arguments.model, arguments.threads)
    threading.Thread(
        target=_accept, args=(socket.socket(fileno=arguments.echo), _echo), daemon=True
    ).start()
    os.write(arguments.ready, b"ready\n")
    _accept(socket.socket(fileno=arguments.service), server.converse)


class Plain:
    """A loaded model that answers whoever asks."""

    def __init__(self, model: Path, threads: int) -> None:
        self._stages = Stages()
        with self._stages("import"):
            from enclave.models import engine as engines
        with self._stages("fetch"):
            source = json.loads((model / "source.json").read_text())
            weights = _read(model / "model.safetensors")
            tokenizer = (model / "tokenizer.json").read_bytes()
        with self._stages("load"):
            self._engine = engines.load(
                source["architecture"], source["config"], weights, tokenizer, threads=threads
            )
        with self._stages("first_inference"):
            self._engine.run(("the server is ready",))

    def converse(self, channel: Channel) -> None:
        """Answer requests and collections until the peer ends."""
        marks = Marks()
        while True:
            kind, body = channel.receive(Type.REQUEST, Type.COLLECT, Type.END)
            marks("received")
            if kind is Type.END:
                return
            if kind is Type.COLLECT:
                channel.send(Type.REPORT, self._report(marks))
                continue
            output = self._engine.run(Request.decode(body).texts, marks).encode()
            channel.send(Type.RESPONSE, Response(output, b"").encode())
            marks("sent")

    def _report(self, marks: Marks) -> bytes:
        return cbor.encode(
            {
                "boot_ns": self._stages.rows(),
                "parity": self._engine.parity(),
                "peak_rss_bytes": peak_rss_bytes(),
                "requests_ns": marks.take(),
            }
        )


def _read(path: Path) -> Buffer:
    """The file in the kind of memory the enclave uses."""
    buffer = Buffer(path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        rest = buffer.view
        while rest:
            rest = rest[file.readinto(rest) :]
    return buffer


def _accept(listener: socket.socket, converse: Callable[[Channel], None]) -> None:
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=_handle, args=(stream, converse), daemon=True).start()


def _handle(stream: socket.socket, converse: Callable[[Channel], None]) -> None:
    with stream, contextlib.suppress(RemoteProtocolError, OSError):
        converse(Channel(stream))


def _echo(channel: Channel) -> None:
    while True:
        channel.send(*channel.receive(Type.ECHO))


if __name__ == "__main__":
    main()
