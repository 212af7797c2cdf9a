"""Building: the same files are the same bytes, another byte is another PCR0, and what is written
down about an image sees what the PCRs do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from bench.image import ImageError, eif, measurements
from bench.image.build import build_image, read_folder, unpack_image
from bench.image.eif import Image, Kind, Section
from bench.image.measurements import Measurements
from bench.sources import folder

REPOSITORY = Path(__file__).parents[2]
CMDLINE = "platform=local owner=00ff"
FILES = {
    "init.py": "boot\n",
    "requirements.lock": "torch==2.13\n",
    "__init__.py": "",
    "__main__.py": "main\n",
    "tee/local.py": "tee\n",
    "wire/SPEC.txt": "spec\n",
}
LEFT_OUT = (
    "README.md",
    "Dockerfile",
    "wire/SPEC.md",
    "__pycache__/a.pyc",
    "b.pyc",
    ".swap",
    "c.part",
)


def write_source(source: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return source


def build(source: Path, out: Path, cmdline: str = CMDLINE, kernel: bytes = b"none") -> Measurements:
    return build_image(
        source,
        cmdline=cmdline,
        kernel=kernel,
        default_memory_mib=1024,
        default_cpus=2,
        image=out / "image.eif",
        measurements=out / "measurements.json",
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "enclave", FILES)


def test_built_twice_in_different_folders_is_byte_identical(
    tmp_path: Path, umask: Callable[[int], None]
) -> None:
    first = write_source(tmp_path / "here" / "enclave", FILES)
    build(first, tmp_path / "1")
    umask(0o077)
    reversed_files = dict(reversed(FILES.items()))
    second = write_source(tmp_path / "else" / "where" / "source", reversed_files)
    for number, path in enumerate(second.rglob("*")):
        os.utime(path, (number, 10**9 + number))
    (second / "tee" / "local.py").chmod(0o700)
    build(second, tmp_path / "2")
    for name in ("image.eif", "measurements.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_the_hash_seed_changes_nothing(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path / "1")
    code = (
        "import sys; from pathlib import Path; from bench.image.build import build_image;"
        "out = Path(sys.argv[2]); build_image(Path(sys.argv[1]), cmdline=sys.argv[3],"
        " kernel=b'none', default_memory_mib=1024, default_cpus=2, image=out / 'image.eif',"
        " measurements=out / 'measurements.json')"
    )
    subprocess.run(
        [sys.executable, "-c", code, source, tmp_path / "2", CMDLINE],
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    for name in ("image.eif", "measurements.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_changes_pcr0_and_its_ramdisks_pcr(
    source: Path, tmp_path: Path, name: str
) -> None:
    before = build(source, tmp_path / "1")
    path = source / name
    path.write_bytes(path.read_bytes() + b"x")
    after = build(source, tmp_path / "2")
    in_boot = name in ("init.py", "requirements.lock")
    changed = {index for index in (0, 1, 2) if before.pcrs[index] != after.pcrs[index]}
    assert changed == ({0, 1} if in_boot else {0, 2})
    assert before.enclave_digest != after.enclave_digest


@pytest.mark.attack(40)
def test_a_renamed_file_the_command_line_and_the_kernel_are_measured(
    source: Path, tmp_path: Path
) -> None:
    found = [build(source, tmp_path).pcrs[0]]
    found.append(build(source, tmp_path, cmdline=CMDLINE + " x").pcrs[0])
    found.append(build(source, tmp_path, kernel=b"no").pcrs[0])
    (source / "__main__.py").rename(source / "__other__.py")
    found.append(build(source, tmp_path).pcrs[0])
    assert len(set(found)) == 4


def test_what_is_not_measured_is_left_out(source: Path, tmp_path: Path) -> None:
    before = build(source, tmp_path)
    write_source(source, dict.fromkeys(LEFT_OUT, "text"))
    assert build(source, tmp_path) == before


def test_the_image_holds_what_the_rebuild_depends_on() -> None:
    boot, application = read_folder(REPOSITORY / "enclave")
    names = {file.path.removeprefix("enclave/") for file in (*boot, *application)}
    names.add("init.py")
    names.remove("init")
    expected = {path.removeprefix("enclave/") for path in folder("enclave", REPOSITORY)}
    assert names == expected


@pytest.mark.parametrize("target", ["init.py", "/etc/hostname", "tee", "nowhere"])
def test_a_link_is_refused(source: Path, tmp_path: Path, target: str) -> None:
    (source / "link.py").symlink_to(target)
    with pytest.raises(ImageError, match=r"link\.py, field type"):
        build(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_named_pipe_is_refused(source: Path, tmp_path: Path) -> None:
    os.mkfifo(source / "pipe")
    with pytest.raises(ImageError, match="pipe, field type"):
        build(source, tmp_path)


@pytest.mark.parametrize("name", ["init.py", "requirements.lock"])
def test_a_missing_boot_file_is_named(source: Path, tmp_path: Path, name: str) -> None:
    (source / name).unlink()
    with pytest.raises(ImageError, match="found no " + name.removesuffix(".py")):
        build(source, tmp_path)


@pytest.mark.parametrize(
    "cmdline", ["owner=1", "platform=", "platform=a platform=b", "platform=é", "platform=a\n"]
)
def test_a_command_line_without_one_platform_is_refused(
    source: Path, tmp_path: Path, cmdline: str
) -> None:
    with pytest.raises(ImageError, match="cmdline"):
        build(source, tmp_path, cmdline)


def test_no_half_written_file_is_left(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "image.eif").mkdir(parents=True)  # a folder in the way: the rename fails
    with pytest.raises(OSError, match="image"):
        build(source, out)
    assert [path.name for path in out.iterdir()] == ["image.eif"]


def test_unpacked_it_is_the_source_again(source: Path, tmp_path: Path) -> None:
    build(source, tmp_path)
    root = tmp_path / "root"
    root.mkdir()
    unpack_image(eif.decode((tmp_path / "image.eif").read_bytes()), root)
    found = {
        path.relative_to(root).as_posix(): path.read_text()
        for path in root.rglob("*")
        if path.is_file()
    }
    places = {"init.py": "init", "requirements.lock": "requirements.lock"}
    expected = {places.get(name, f"enclave/{name}"): text for name, text in FILES.items()}
    assert found == expected | {"cmdline": CMDLINE}


def test_measurements_say_what_the_image_is(source: Path, tmp_path: Path) -> None:
    written = build(source, tmp_path)
    data = (tmp_path / "image.eif").read_bytes()
    assert measurements.read(tmp_path / "measurements.json") == written
    assert written.platform == "local"
    assert written.pcrs == eif.measure(eif.decode(data).sections)
    assert written.eif_sha256 == sha256(data).hexdigest()
    assert written.files["init"] == sha256(b"boot\n").hexdigest()
    assert [section.type for section in written.sections] == [
        "kernel",
        "cmdline",
        "metadata",
        "ramdisk",
        "ramdisk",
    ]
    lines = "".join(f"{written.files[path]}  {path}\n" for path in sorted(written.files))
    assert written.enclave_digest == sha256(lines.encode()).hexdigest()


def test_the_image_that_was_built_passes(source: Path, tmp_path: Path) -> None:
    written = build(source, tmp_path)
    data = (tmp_path / "image.eif").read_bytes()
    assert measurements.check(data, written) == eif.decode(data)


def rebuilt(data: bytes, **sections: Section) -> bytes:
    """The image with some sections in place of those of the same type."""
    image = eif.decode(data)
    others = tuple(sections.get(section.kind.name.lower(), section) for section in image.sections)
    return eif.encode(replace(image, sections=others))


@pytest.mark.attack(18)
def test_a_moved_boundary_has_the_same_pcrs_and_is_refused(source: Path, tmp_path: Path) -> None:
    kernel = b"no kernel boots here "
    written = build(source, tmp_path, kernel=kernel)
    shifted = rebuilt(
        (tmp_path / "image.eif").read_bytes(),
        kernel=Section(Kind.KERNEL, kernel[:-5]),
        cmdline=Section(Kind.CMDLINE, kernel[-5:] + CMDLINE.encode()),
    )
    assert eif.measure(eif.decode(shifted).sections) == written.pcrs
    with pytest.raises(ImageError) as caught:
        measurements.check(shifted, written)
    assert caught.value.field == "section 0"


@pytest.mark.attack(17)
def test_a_changed_metadata_section_is_refused(source: Path, tmp_path: Path) -> None:
    written = build(source, tmp_path)
    changed = rebuilt((tmp_path / "image.eif").read_bytes(), metadata=Section(Kind.METADATA, b"{}"))
    with pytest.raises(ImageError) as caught:
        measurements.check(changed, written)
    assert caught.value.field == "section 2"


@pytest.mark.attack(17)
def test_a_changed_header_is_refused(source: Path, tmp_path: Path) -> None:
    written = build(source, tmp_path)
    image = eif.decode((tmp_path / "image.eif").read_bytes())
    with pytest.raises(ImageError) as caught:
        measurements.check(eif.encode(replace(image, default_cpus=9)), written)
    assert caught.value.field == "eif_sha256"


@pytest.mark.attack(18)
def test_a_section_more_is_refused(source: Path, tmp_path: Path) -> None:
    written = build(source, tmp_path)
    image = eif.decode((tmp_path / "image.eif").read_bytes())
    sections = (*image.sections, Section(Kind.SIGNATURE, b"\x80"))
    with pytest.raises(ImageError) as caught:
        measurements.check(eif.encode(Image(sections, 1 << 30, 2)), written)
    assert caught.value.field in ("section 5", "eif_sha256")


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("schema", 2, "schema"),
        ("schema", True, "schema"),
        ("platform", "aws-nitro", "platform"),
        ("enclave_digest", "0" * 64, "enclave_digest"),
        ("eif_sha256", "F" * 64, "eif_sha256"),
        ("eif_sha256", "0" * 63, "eif_sha256"),
        ("build_tool", None, "build_tool"),
        ("pcrs", [], "pcrs"),
        ("pcrs", {"0": "11" * 48, "1": "11" * 48}, "pcrs.2"),
        ("pcrs", {"0": "00" * 48, "1": "11" * 48, "2": "22" * 48}, "pcrs.0"),
        ("pcrs", {"0": "1" * 95, "1": "11" * 48, "2": "22" * 48}, "pcrs.0"),
        ("files", {"init": "0" * 63}, "files[init]"),
        ("files", {"init": 0}, "files[init]"),
        ("files", {"init": "0" * 64}, "enclave_digest"),
        ("sections", [{"type": "kernel"}], "sections[0].bytes"),
        ("sections", ["kernel"], "sections[0]."),
        ("surprise", 1, "surprise"),
    ],
)
def test_one_wrong_field_of_measurements_is_named(
    source: Path, tmp_path: Path, field: str, value: object, named: str
) -> None:
    build(source, tmp_path)
    path = tmp_path / "measurements.json"
    fields = json.loads(path.read_text())
    fields[field] = value
    path.write_text(json.dumps(fields))
    with pytest.raises(ImageError) as caught:
        measurements.read(path)
    assert caught.value.file == str(path)
    assert caught.value.field == named


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1, "a": 1}', "[" * 100_000, "\xff"])
def test_other_text_is_no_measurements(tmp_path: Path, text: str) -> None:
    path = tmp_path / "measurements.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ImageError) as caught:
        measurements.read(path)
    assert caught.value.field == "whole file"
