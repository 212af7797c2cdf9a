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
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from enclave.memory import Buffer, peak_rss_bytes, rss_bytes, uncollected
from enclave.stages import Marks, Stages
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel, Type
from enclave.wire.messages import Completion, Generate, Output, Request, Response

if TYPE_CHECKING:
    from enclave.models.engine import Engine

ASKED = (Type.REQUEST, Type.GENERATE, Type.COLLECT, Type.END)

Replies = Generator[tuple[Type, bytes], None, None]


def main() -> None:
    """Load, announce, serve for ever."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("service", "echo", "ready", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder with source.json")
    arguments = parser.parse_args()
    stages = Stages()
    chosen = {name: getattr(arguments, name) for name in ("threads", "batch", "device")}
    engine = load(arguments.model, stages, **chosen)
    threading.Thread(
        target=_accept, args=(socket.socket(fileno=arguments.echo), _echo), daemon=True
    ).start()
    os.write(arguments.ready, b"ready\n")
    _accept(socket.socket(fileno=arguments.service), Plain(engine, stages).converse)


def load(model: Path, stages: Stages, *, threads: int, batch: int, device: str) -> Engine:
    """The model of a folder, ready to answer; it is read while torch is imported, as inside."""
    with uncollected(), ThreadPoolExecutor(1) as beside:
        reading = beside.submit(_read_model, model, stages)
        with stages("import"):
            from enclave.models import engine as engines
        source, weights, tokenizer = reading.result()
        with stages("load"):
            engine = engines.load(
                source["architecture"],
                source["config"],
                weights,
                tokenizer,
                threads=threads,
                batch=batch,
                device=device,
            )
        with stages("first_inference"):
            engine.warm_up()
    return engine


def _read_model(folder: Path, stages: Stages) -> tuple[dict[str, Any], Buffer, bytes]:
    with stages("fetch"):
        source = json.loads((folder / "source.json").read_text())
        tokenizer = (folder / "tokenizer.json").read_bytes()
        return source, _read(folder / "model.safetensors"), tokenizer


class Plain:
    """A loaded model that answers whoever asks."""

    def __init__(self, engine: Engine, stages: Stages) -> None:
        self._engine = engine
        self._stages = stages

    def converse(self, channel: Channel) -> None:
        """Answer requests and collections until the peer ends."""
        marks = Marks()
        while True:
            kind, body = channel.receive(*ASKED)
            marks("received")
            if kind is Type.END:
                return
            with contextlib.closing(self._replies(kind, body, marks)) as replies:
                for reply in replies:
                    channel.send(*reply)
                    marks("sent")

    def _replies(self, kind: Type, body: bytes | bytearray, marks: Marks) -> Replies:
        if kind is Type.COLLECT:
            yield Type.REPORT, self._report(marks)
            return
        output: Output | Completion
        if kind is Type.REQUEST:
            output = self._engine.run(Request.decode(body).texts, marks)
        else:
            request, parts = Generate.decode(body), []
            for part in self._engine.generate(request, marks):
                parts.append(part)
                yield Type.PART, part.encode()
            output = Completion.of(parts, request.max_new_tokens)
        yield Type.RESPONSE, Response(output.encode(), b"").encode()

    def _report(self, marks: Marks) -> bytes:
        return cbor.encode(
            {
                "boot_ns": self._stages.rows(),
                "parity": self._engine.parity(),
                "peak_rss_bytes": peak_rss_bytes(),
                "requests_ns": marks.take(),
                "rss_bytes": rss_bytes(),
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
