"""Make every lock file and the conda files from the `.in` files beside this one.

One resolution of everything first, then each environment under its versions: whatever is installed
together agrees. Locks hold hashes and neither index nor path; run it with uv on PATH: `make lock`.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
ENCLAVE = HERE.parent / "enclave"
ENVIRONMENTS = ("workflow", "image", "measure", "analysis", "report", "dev", "fuzz")
CONDA = ("image", "measure", "analysis", "report")
COMPILE = (
    *("uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
    *("--quiet", "--fork-strategy", "fewest"),
)
OVERRIDES = ("--overrides", str(HERE / "overrides.txt"))
# What we are compared with is installed apart, in the same versions where it shares any.
PEERS = ("peers", "llama-cpp")
PEERS_OVERRIDES = ("--overrides", str(HERE / "peers-overrides.txt"))
HEADS = {
    "lock": "# Made by `make lock` from {source}; every file's hash is checked on installation.\n",
    "conda": (
        "# Made by `make lock` from {source}, for `snakemake --sdm conda`. Nobody has run it yet:\n"
        "# the Makefile installs the hashed locks instead. What is installed without dependencies\n"
        "# (minilm.lock) is not in it, so a model of source `package` cannot be fetched.\n"
    ),
}
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    """Everything, in order."""
    everything = [HERE / f"{name}.in" for name in ENVIRONMENTS]
    versions = HERE / ".versions.part"
    _compile(versions, everything, OVERRIDES)
    shared = ("--constraints", str(versions))
    constraints = (*OVERRIDES, *shared)
    for name in ENVIRONMENTS:
        _compile(HERE / f"{name}.lock", [HERE / f"{name}.in"], constraints)
    _compile(ENCLAVE / "requirements.lock", [ENCLAVE / "requirements.in"], constraints)
    _compile(HERE / "torch-default.lock", [HERE / "torch-default.in"], constraints)
    _compile(HERE / "minilm.lock", [HERE / "minilm.in"], ("--no-deps",))
    for name in PEERS:
        _compile(HERE / f"{name}.lock", [HERE / f"{name}.in"], (*PEERS_OVERRIDES, *shared))
    versions.unlink()
    for name in CONDA:
        _conda(name)


def _compile(output: Path, inputs: list[Path], options: tuple[str, ...]) -> None:
    command = [*COMPILE, *options, *map(str, inputs)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    source = " ".join(path.name for path in inputs)
    pins = re.sub(r" (?:;|and) sys_platform == 'linux'", "", done.stdout)  # true of all of them
    if output.parent == ENCLAVE:
        pins += _torch()
    output.write_text(HEADS["lock"].format(source=source) + pins)


def _torch() -> str:
    """The pin of torch's CPU build, which is what runs inside."""
    text = (HERE / "torch-cpu.lock").read_text()
    return text[text.index("torch==") :]


def _conda(name: str) -> None:
    """The same versions for conda, without hashes: its pip section takes none."""
    pins = re.findall(r"^([a-z0-9][^ \n]*(?: ; [^\\\n]*)?)", _lock(name), re.MULTILINE)
    torch = [f"--extra-index-url {TORCH_INDEX}", "torch==2.13.0+cpu"]
    lines = [*(torch if name in ("image", "measure") else []), *(pin.strip() for pin in pins)]
    body = "".join(f'      - "{line}"\n' for line in lines)
    head = HEADS["conda"].format(source=f"{name}.lock")
    channels = "channels: [conda-forge, nodefaults]\ndependencies:\n  - python=3.12\n  - pip\n"
    (HERE / f"{name}.yaml").write_text(f"{head}{channels}  - pip:\n{body}")


def _lock(name: str) -> str:
    return (HERE / f"{name}.lock").read_text()


if __name__ == "__main__":
    main()
