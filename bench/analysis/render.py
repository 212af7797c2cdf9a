"""Render: summary and report source to one self-contained HTML page.

Quarto does it where there is a Quarto; else pandoc (from pypandoc_binary) with the filter and
template of report/fallback, which know as much of Quarto's syntax as report.qmd uses. The same
inputs give the same bytes; nothing is fetched.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pypandoc

from bench import files
from bench.analysis import fragments, ratios
from bench.analysis.sheets import Summary

# --data-dir: a user's own pandoc templates and defaults must not change the page.
PANDOC = (
    "--from=fallback/reader.lua", "--to=html5", "--standalone", "--template=fallback/template.html",
    "--lua-filter=fallback/filter.lua", "--lua-filter=tables.lua", "--section-divs",
    "--toc", "--toc-depth=2", "--embed-resources", "--wrap=none", "--fail-if-warnings",
    "--data-dir=.",
)  # fmt: skip


class RenderError(Exception):
    """The page could not be made; what the renderer said stands in the message."""


def render(
    summary: Path, report: Path, literature: Path, build: Path, out: Path, *, quarto: str | None
) -> None:
    """Write the page for the CSV files in `summary` from the sources in `report` to `out`.

    `build` is emptied and then holds what the page is made of: a copy of `report`, the fragments,
    figures and variables. `quarto` is the path of the program, or None for the fallback.
    """
    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(report, build)
    fragments.write(Summary.read(summary), literature, build)
    compared = ratios.page(summary.parent / "bench" / "ratios.csv")
    files.replace(build / "_peers.md", compared.encode())
    made = by_quarto(build, quarto) if quarto else by_pandoc(build)
    files.replace(out, made)


def by_quarto(build: Path, quarto: str) -> bytes:
    """The page as Quarto makes it from a build folder."""
    _run([quarto, "render", "report.qmd", "--output", "page.html"], build)
    return (build / "page.html").read_bytes()


def by_pandoc(build: Path) -> bytes:
    """The page as the fallback makes it from a build folder."""
    sheets = [build / "own.scss", build / "fallback" / "page.css"]
    styles = "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    command = [pypandoc.get_pandoc_path(), *PANDOC, f"--variable=styles:{styles}"]
    _run([*command, "--output=page.html", "report.qmd"], build)
    return (build / "page.html").read_bytes()


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise RenderError(f"{Path(command[0]).name} could not make the page:\n{said}")
