"""A stream of frames in reads of any size, and the messages in them."""

from __future__ import annotations

from typing import Any

from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import HEADER, VERSION, Channel, Type
from enclave.wire.messages import (
    ClientHello,
    Collect,
    Completion,
    Generate,
    Output,
    Part,
    Request,
    Response,
)
from tests.wire.streams import Pipe

OUTPUT = Output((1, 2), bytes(8))
MESSAGES: dict[Type, Any] = {  # and two that come within others, in frames of any content
    Type.CLIENT_HELLO: ClientHello(bytes(32)),
    Type.REQUEST: Request(("text", "more")),
    Type.RESPONSE: Response(OUTPUT.encode(), b"receipt"),
    Type.COLLECT: Collect(bytes(32)),
    Type.GENERATE: Generate("prompt", 9, 700, 1),
    Type.PART: Part(300, " text"),
    Type.ECHO: OUTPUT,
    Type.REPORT: Completion((1, 300), " text", "stop"),
}


def frame(kind: Type, body: bytes) -> bytes:
    return HEADER.pack(VERSION, kind, len(body)) + body


FRAMES = [frame(kind, message.encode()) for kind, message in MESSAGES.items()]
SEEDS = (b"\x01" + b"".join(FRAMES), *(b"\xff" + data for data in FRAMES), b"\x03" + FRAMES[0])


def judge(data: bytes) -> None:
    """The first byte says how much one read gives."""
    pipe = Pipe(data[0] if data and data[0] else 1)
    pipe.data += data[1:]
    left, channel = data[1:], Channel(pipe)
    try:
        while True:
            kind, body = channel.receive(*Type)
            assert left[: HEADER.size + len(body)] == frame(kind, bytes(body))
            left = left[HEADER.size + len(body) :]
            if kind in MESSAGES:
                assert type(MESSAGES[kind]).decode(body).encode() == body
    except RemoteProtocolError:
        return
