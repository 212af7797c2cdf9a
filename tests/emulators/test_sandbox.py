"""Each level of isolation, run for real; a level that this machine refuses is skipped, saying why.

What is inside is told by the report that the enclave itself makes.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.emulators.process import spawn
from bench.emulators.sandbox import Level, command, vsock_folder
from tests.emulators.levels import CPUS, REPOSITORY, usable

ISOLATION = REPOSITORY / "enclave" / "tee" / "isolation.py"
MEMORY_MIB = 512
LIMIT_S = 20.0

REPORT = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['report']()))"


def run(
    level: Level,
    code: str,
    *arguments: object,
    read_only: tuple[Path, ...] = (),
    run_dir: Path | None = None,
    environment: dict[str, str] | None = None,
    memory_mib: int | None = MEMORY_MIB,
    vcpus: list[int] = CPUS,
    fds: tuple[int, ...] = (),
) -> str:
    argv = command(
        level,
        [sys.executable, "-I", "-c", code, *map(str, arguments)],
        vcpus=vcpus,
        memory_mib=memory_mib,
        read_only=read_only,
        run_dir=run_dir,
        environment=environment,
    )
    ended = subprocess.run(argv, capture_output=True, text=True, pass_fds=fds, timeout=LIMIT_S)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def report(level: Level, **options: object) -> dict[str, object]:
    text = run(level, REPORT, ISOLATION, read_only=(ISOLATION,), **options)  # type: ignore[arg-type]
    facts = json.loads(text)
    assert isinstance(facts, dict)
    return facts


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A parent's port in `tmp_path`, as hybrid vsock names it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "v.sock_7000"))
        sock.listen()
        yield sock


def test_seen_from_inside_it_is_the_level_that_was_asked_for(isolated: Level) -> None:
    facts = report(isolated)
    assert facts["level"] == isolated
    assert facts["net_routed"] == []
    assert facts["visible_pids"] in (1, 2)
    assert facts["cap_eff"] == facts["cap_bnd"] == "0" * 16
    assert facts["no_new_privs"] == 1
    assert facts["root_ro"] is True


def test_a_plain_process_says_that_it_is_one() -> None:
    usable(Level.PROCESS)
    facts = report(Level.PROCESS)
    assert facts["level"] == "process"
    assert facts["host_files"] != []


def test_only_tmp_and_shared_memory_can_be_written_in_bwrap() -> None:
    assert report(usable(Level.BWRAP))["writable"] == ["/dev/shm", "/tmp"]


def test_no_folder_of_the_host_can_be_written_in_namespaces() -> None:
    level = usable(Level.NAMESPACES)
    assert report(level)["writable"] == ["/dev/shm", "/tmp"]
    code = """
import os
places = ["/", "/dev", "/var/tmp", "/run", "/home", "/root", "/sys/fs/cgroup", os.getcwd()]
print([place for place in places if os.path.isdir(place) and os.access(place, os.W_OK)])
"""
    assert run(level, code) == "[]"


def test_cpus_and_memory_are_those_that_were_given(level: Level) -> None:
    facts = report(level, vcpus=CPUS[-1:], memory_mib=300)
    assert facts["cpus"] == CPUS[-1:]
    assert facts["rlimit_data_mib"] == 300


def test_no_memory_limit_where_none_was_given(level: Level) -> None:
    assert report(level, memory_mib=None)["rlimit_data_mib"] == report_here()["rlimit_data_mib"]


def report_here() -> dict[str, object]:
    ended = subprocess.run(
        [sys.executable, "-I", "-c", REPORT, ISOLATION], capture_output=True, check=True
    )
    facts = json.loads(ended.stdout)
    assert isinstance(facts, dict)
    return facts


def test_more_memory_than_given_is_refused(level: Level) -> None:
    code = """
bytearray(64 << 20)
try:
    bytearray(200 << 20)
except MemoryError:
    print("refused")
"""
    assert run(level, code, memory_mib=200) == "refused"


@pytest.mark.parametrize(("place", "mib"), [("/tmp", 64), ("/dev/shm", 16)])
def test_the_two_writable_folders_are_small(isolated: Level, place: str, mib: int) -> None:
    code = """
import os, sys
found = os.statvfs(sys.argv[1])
print(found.f_frsize * found.f_blocks >> 20, sorted(os.listdir("/dev/shm")))
open(sys.argv[1] + "/file", "wb").write(b"x")
"""
    assert run(isolated, code, place) == f"{mib} []"


@pytest.mark.attack(40)
def test_the_environment_is_what_was_given(level: Level) -> None:
    code = "import os; print({k: v for k, v in os.environ.items() if k not in ('PWD', 'LC_CTYPE')})"
    given = {"OMP_NUM_THREADS": "1", "ODD": "a b $HOME '\""}
    assert run(level, code, environment=given) == str(given)


def test_arguments_arrive_as_they_are(level: Level) -> None:
    odd = ("", "a b", "$HOME", "'\"\\", "*", "--", "-c")
    assert run(level, "import sys; print(sys.argv[1:])", *odd) == str(list(odd))


def test_what_is_shown_can_be_read_but_not_written(isolated: Level, tmp_path: Path) -> None:
    folder = tmp_path / "shown"
    (folder / "below").mkdir(parents=True)
    file = tmp_path / "single"
    file.write_text("one file")
    (folder / "below" / "text").write_text("from outside")
    code = """
import sys
print(open(sys.argv[1] + "/below/text").read(), open(sys.argv[2]).read())
for path in (sys.argv[1] + "/new", sys.argv[1] + "/below/text", sys.argv[2]):
    try:
        open(path, "a")
    except OSError as error:
        print(error.errno)
"""
    found = run(isolated, code, folder, file, read_only=(folder, file, folder / "below"))
    assert found.split("\n") == ["from outside one file", "30", "30", "30"]  # EROFS
    assert sorted(path.name for path in folder.iterdir()) == ["below"]


def test_what_is_not_shown_is_not_there(isolated: Level, tmp_path: Path) -> None:
    if not tmp_path.is_relative_to("/tmp"):
        pytest.skip(f"{tmp_path} is not below /tmp, which namespaces hide")
    (tmp_path / "shown").mkdir()
    (tmp_path / "secret").write_text("of the host")
    code = "import os, sys; print(sorted(os.listdir(sys.argv[1])))"
    assert run(isolated, code, tmp_path, read_only=(tmp_path / "shown",)) == "['shown']"


@pytest.mark.parametrize(("level", "seen"), [(Level.BWRAP, False), (Level.NAMESPACES, True)])
def test_the_hosts_files_stay_readable_in_namespaces_alone(level: Level, seen: bool) -> None:
    code = "import os; print(os.path.exists('/etc/passwd'))"
    assert run(usable(level), code) == str(seen)


def test_nothing_gets_out_by_the_network(isolated: Level) -> None:
    code = """
import errno, socket
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    try:
        with socket.socket(family) as sock:
            sock.settimeout(5)
            sock.connect((address, 9))
    except OSError as error:
        print(errno.errorcode.get(error.errno))
"""
    found = set(run(isolated, code).split("\n"))
    assert found <= {"ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"}


def test_the_parents_socket_is_reached_and_its_folder_is_closed(
    level: Level, tmp_path: Path, listener: socket.socket
) -> None:
    folder = vsock_folder(level, tmp_path)
    code = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1] + "/v.sock_7000")
    sock.sendall(b"from inside")
try:
    open(sys.argv[1] + "/new", "w")
except OSError as error:
    print(error.errno)
"""
    found = run(level, code, folder, run_dir=tmp_path)
    stream, _ = listener.accept()
    with stream:
        assert stream.recv(100) == b"from inside"
    assert found == ("" if level is Level.PROCESS else "30")


def test_an_abstract_socket_of_the_host_is_out_of_reach(isolated: Level) -> None:
    name = f"\0sandbox-test-{os.getpid()}"
    code = """
import socket, sys
try:
    socket.socket(socket.AF_UNIX).connect(chr(0) + sys.argv[1])
except OSError as error:
    print(error.errno)
"""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(name)
        sock.listen()
        assert run(isolated, code, name[1:]) == "111"  # ECONNREFUSED


def test_an_inherited_listening_socket_works_inside(level: Level, tmp_path: Path) -> None:
    code = """
import socket, sys
with socket.socket(fileno=int(sys.argv[1])) as listener:
    stream, _ = listener.accept()
    stream.sendall(b"hello from " + stream.recv(100))
"""
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as client:
        listening.bind(str(tmp_path / "v.sock"))
        listening.listen()
        number = listening.fileno()
        argv = [sys.executable, "-I", "-c", code, str(number)]
        argv = command(level, argv, vcpus=CPUS, memory_mib=MEMORY_MIB)
        with spawn(argv, pass_fds=[number], log=tmp_path / "log") as inside:
            client.settimeout(LIMIT_S)
            client.connect(str(tmp_path / "v.sock"))
            client.sendall(b"inside")
            assert client.recv(100) == b"hello from inside"
            assert inside.wait(LIMIT_S) == 0, inside.tail()


IDLE = "import os, sys, signal; os.write(int(sys.argv[1]), b'up'); signal.pause()"
LAUNCHER = """
import sys
from bench.emulators.process import spawn
spawn(sys.argv[2:], pass_fds=[int(sys.argv[1])]).wait()
"""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A reading end and a writing one, which the test gives away and closes."""
    read, write = os.pipe()
    yield read, write
    os.close(read)


def read_some(descriptor: int) -> bytes:
    """What the processes inside say; nothing, when none of them holds the other end any more."""
    assert select.select([descriptor], [], [], LIMIT_S)[0], "it neither speaks nor ends"
    return os.read(descriptor, 10)


def idle(level: Level, descriptor: int) -> list[str]:
    argv = [sys.executable, "-I", "-c", IDLE, str(descriptor)]
    return command(level, argv, vcpus=CPUS, memory_mib=MEMORY_MIB)


def test_stopped_it_is_gone_whole(level: Level, tmp_path: Path, pipe: tuple[int, int]) -> None:
    read, write = pipe
    with spawn(idle(level, write), pass_fds=[write], log=tmp_path / "log") as inside:
        os.close(write)
        assert read_some(read) == b"up", inside.tail()
        inside.stop(grace_s=0.2)
        assert read_some(read) == b""


def test_it_dies_with_a_killed_launcher(level: Level, pipe: tuple[int, int]) -> None:
    read, write = pipe
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(write), *idle(level, write)],
        pass_fds=[write],
        env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]},
    ) as parent:
        os.close(write)
        try:
            assert read_some(read) == b"up"
        finally:
            parent.kill()
    assert read_some(read) == b""
