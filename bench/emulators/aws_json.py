"""AWS JSON 1.1 over HTTP/1.1: the shell around an emulated service.

Rule of the file: it authenticates, reads and answers, and knows no operation. Every request leaves
one line of JSON in the service's log, written before the answer is sent; neither bodies nor
signatures are ever logged.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from bench import faults
from bench.emulators.sigv4 import Principal, Received, SignatureError, authenticate
from bench.faults import Fault

MAX_BODY_BYTES = 512 * 1024
IDLE_SECONDS = 60
INJECTED = {
    "throttled": (400, "ThrottlingException", "Rate exceeded"),
    "unavailable": (500, "KMSInternalException", "an internal failure"),
}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: no lingering, so closing cuts the connection
CONTENT_TYPE = "application/x-amz-json-1.1"

Members = dict[str, Any]


class ServiceError(Exception):
    """An error that AWS documents: its code on the wire, and why."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        self.code = code
        self.status = status
        super().__init__(message)


class Service(Protocol):
    """What the shell needs of a service; `call` adds what it decided to the log entry."""

    name: str
    target: str
    region: str
    log: Path
    now: Callable[[], datetime]

    @property
    def principals(self) -> Mapping[str, Principal]: ...

    def call(
        self, operation: str, members: Members, caller: Principal, entry: Members
    ) -> Members: ...


class Server(ThreadingHTTPServer):
    """Serves one service on a free port of the loopback interface, a thread per connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, service: Service) -> None:
        self.service = service
        self._log_lock = threading.Lock()
        self._schedule: tuple[float, Sequence[Fault]] = (0.0, ())
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def inject(self, start_s: float, schedule: Sequence[Fault]) -> None:
        """Misbehave as the schedule says, from this moment of the monotonic clock."""
        self._schedule = start_s, schedule

    def hear(self, descriptor: int) -> None:
        """Take schedules from a pipe, a line each; whoever writes them has the same clock."""

        def listen() -> None:
            with os.fdopen(descriptor) as lines:
                for line in lines:
                    self.inject(*faults.decode(line))

        threading.Thread(target=listen, daemon=True).start()

    def fault(self) -> Fault | None:
        """What a request of this moment meets; it leaves a line in the log."""
        start_s, schedule = self._schedule
        fault = faults.due(schedule, time.monotonic() - start_s)
        if fault is not None:
            self._log({"time": self.service.now().isoformat(), "injected": fault.kind})
        return fault

    def answer(self, request: Received) -> tuple[int, Members, str]:
        """(status, reply, request id) of one request. A bug of ours is logged and let crash."""
        now = self.service.now()
        entry: Members = {"time": now.isoformat(), "request": str(uuid.uuid4())}
        entry["outcome"] = "crashed"
        try:
            status, reply = 200, self._call(request, now, entry)
            entry["outcome"] = "allowed"
        except (SignatureError, ServiceError) as error:
            status, reply = error.status, {"__type": error.code, "message": str(error)}
            entry |= {"outcome": error.code, "reason": str(error)}
        finally:
            self._log(entry)
        return status, reply, entry["request"]

    def _call(self, request: Received, now: datetime, entry: Members) -> Members:
        service = self.service
        caller = authenticate(
            request, service.principals, region=service.region, service=service.name, now=now
        )
        prefix, _, operation = request.headers.get("x-amz-target", "").rpartition(".")
        entry |= {"principal": caller.arn, "operation": operation}
        if prefix != service.target or request.target != "/":
            raise ServiceError("UnknownOperationException", "no such operation")
        try:
            members = json.loads(request.body)
        except (ValueError, RecursionError):
            raise ServiceError("SerializationException", "the body is not json") from None
        if not isinstance(members, dict):
            raise ServiceError("SerializationException", "the body is not a json object")
        return service.call(operation, members, caller, entry)

    def _log(self, entry: Members) -> None:
        line = json.dumps(entry).encode() + b"\n"
        with self._log_lock:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            descriptor = os.open(self.service.log, flags, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    wbufsize = 64 * 1024  # head and body in one packet: none waits for an acknowledgement
    server: Server

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        names = [name.lower() for name in self.headers]
        if not length.isdecimal() or "transfer-encoding" in names or len(names) != len(set(names)):
            return self._refuse(400, "SerializationException")
        if int(length) > MAX_BODY_BYTES:
            return self._refuse(413, "RequestEntityTooLarge")
        body = self.rfile.read(int(length))
        if self._misbehave():
            return None
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._reply(*self.server.answer(Received("POST", self.path, headers, body)))

    def _misbehave(self) -> bool:
        """Whether the fault of this moment leaves nothing to be done."""
        fault = self.server.fault()
        if fault is None:
            return False
        if fault.kind == "latency":
            time.sleep(fault.latency_ms / 1000)
            return False
        if fault.kind == "reset":
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self.connection.close()
        else:
            status, code, message = INJECTED[fault.kind]
            self._reply(status, {"__type": code, "message": message}, str(uuid.uuid4()))
        return True

    def _refuse(self, status: int, code: str) -> None:
        """Where the next request would begin is not known: the connection ends."""
        self.close_connection = True
        self._reply(status, {"__type": code, "message": "malformed request"}, "")

    def _reply(self, status: int, members: Members, request: str) -> None:
        body = json.dumps(members).encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", request)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """The decision log is the record; nothing goes to stderr."""
