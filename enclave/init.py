"""The measured boot code, run as `python -I -B <root>/init <root> [descriptors]`.

`-I` keeps the environment, the working directory and the user's own packages out of the module
path; here the unpacked image comes first on it, so that no installed package can take the place of
a measured one.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(root: Path, arguments: list[str]) -> None:
    """Run the application of the image unpacked at `root`, under its measured command line."""
    sys.path.insert(0, str(root))
    cmdline = (root / "cmdline").read_text("ascii")

    from enclave.__main__ import main as run  # found only now that the path holds the image

    run(cmdline, arguments)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        raise SystemExit("usage: python -I -B ROOT/init ROOT [DESCRIPTOR ...]")
    main(Path(sys.argv[1]), sys.argv[2:])
