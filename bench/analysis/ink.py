"""Ink: how figures are coloured and written, once for light pages and once for dark ones.

SVG with a transparent ground and text kept as text; the same drawing gives the same bytes. Colours
follow Okabe and Ito (2008), who chose them to survive colour blindness, darkened or lightened until
words in them can be read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench import files

# Text is laid out with the widest of the usual fonts, so that the reader's own font fits as well.
FONT = "DejaVu Sans"
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"

# A hundredth of a point is finer than any screen; more digits of a path only make the page heavy.
SHORT = re.compile(r"(\d\.\d\d)\d+")

STYLE = {
    "svg.fonttype": "none",
    "font.family": FONT,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@dataclass(frozen=True, slots=True)
class Ink:
    """Colours for one kind of page; every text colour has a contrast of 4.5 or more on it."""

    name: str
    text: str
    muted: str
    grid: str
    sides: dict[str, str]

    def style(self) -> dict[Any, Any]:
        colours = dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), self.text)
        colours |= dict.fromkeys(("xtick.color", "ytick.color"), self.text)
        return {**STYLE, **colours, "axes.edgecolor": self.muted, "svg.hashsalt": self.name}


LIGHT = Ink(
    "light", "#1f2933", "#5b6672", "#d8dde3",
    {"plain": "#6b7580", "bare": "#0072b2", "enclave": "#c14b00", "null": "#a3508a",
     "tcp": "#00805d"},
)  # fmt: skip
DARK = Ink(
    "dark", "#e6e9ee", "#a8b2bd", "#3a444f",
    {"plain": "#a4afba", "bare": "#56b4e9", "enclave": "#f08c3a", "null": "#d98bbf",
     "tcp": "#2fbf93"},
)  # fmt: skip

Draw = Callable[[Ink], Figure]


def save(draw: Draw, folder: Path, name: str) -> None:
    """Write name-light.svg and name-dark.svg."""
    for ink in (LIGHT, DARK):
        with mpl.rc_context(ink.style()):
            figure, file = draw(ink), io.StringIO()
            figure.savefig(
                file, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
            )
        text = file.getvalue().replace(f"'{FONT}'", FONTS)
        text = re.sub(r' d="[^"]*"', lambda path: SHORT.sub(r"\1", path[0]), text)
        files.replace(folder / f"{name}-{ink.name}.svg", text.encode())
