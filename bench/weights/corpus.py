"""English that every Python installation carries: what the language's documentation says of itself.

Paragraphs of the help topics and of the docstrings in the standard library's own modules. They are
read, not run, and are the same wherever the same version of Python is; whoever trains on them
records their digest.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path

LEAST = 80  # characters: what is shorter is mostly a heading or code
HELD_OUT_OF = 16  # every so many-th paragraph, by its digest
TOPICS = "pydoc_data/topics.py"


def held_out() -> list[str]:
    """Paragraphs that nothing was trained on, about one in 16.

    A paragraph is one by its own SHA-256, so it is held out wherever else it stands too.
    """
    return [text for text in paragraphs() if _is_held_out(text)]


def training() -> list[str]:
    """All other paragraphs."""
    return [text for text in paragraphs() if not _is_held_out(text)]


@cache
def paragraphs() -> tuple[str, ...]:
    """Every paragraph of prose once, on one line, in the order of files."""
    root = Path(sysconfig.get_path("stdlib"))
    modules = (root / f"{name}.py" for name in sorted(sys.stdlib_module_names))
    files = [root / TOPICS, *(path for path in modules if path.is_file())]
    lines = (" ".join(part.split()) for path in files for part in _parts(path))
    return tuple(dict.fromkeys(text for text in lines if _is_prose(text)))


def digest() -> str:
    """SHA-256 over all paragraphs, in hex."""
    return sha256("\n".join(paragraphs()).encode()).hexdigest()


def _parts(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        text: str | None = None
        if path.match(TOPICS):
            text = node.value if isinstance(node, ast.Constant) and type(node.value) is str else ""
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
        yield from (text or "").split("\n\n")


def _is_prose(text: str) -> bool:
    return len(text) >= LEAST and text[-1] in ".:"


def _is_held_out(text: str) -> bool:
    return sha256(text.encode()).digest()[0] % HELD_OUT_OF == 0
