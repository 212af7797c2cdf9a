"""Boots that are kept: which are used, which are still to be started, and what stays of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure import kept
from bench.measure.kept import SHORT, Boot

NEEDS: dict[str, tuple[str, ...]] = {"load": (), "memory": ("load",), "boot": ()}
PROBES = ["boot", "load", "memory"]


def boot(*probes: str) -> Boot:
    return Boot(list(probes), ["a line"], [], {"seconds": 1.5})


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        pytest.param([], [PROBES, PROBES], id="nothing"),
        pytest.param([PROBES, PROBES], [], id="all"),
        pytest.param([PROBES], [PROBES], id="one_boot"),
        pytest.param([["load", "memory"], PROBES], [["boot"]], id="one_probe"),
        pytest.param([["boot", "load"], PROBES], [["load", "memory"]], id="what_it_needs"),
        pytest.param([["boot"], PROBES, ["load"]], [["load", "memory"]], id="further_boot"),
        pytest.param([["boot"], ["boot"]], [["load", "memory"]] * 2, id="two_each"),
        pytest.param([PROBES, PROBES, PROBES], [], id="more_than_asked_for"),
    ],
)
def test_only_what_is_lacking_is_started(done: list[list[str]], expected: list[list[str]]) -> None:
    boots = [boot(*probes) for probes in done]
    assert kept.lacking(boots, 2, PROBES, NEEDS) == expected


def test_boots_are_read_as_they_were_kept(tmp_path: Path) -> None:
    for number, probe in enumerate(PROBES):
        kept.keep(tmp_path, number, "plan", boot(probe))
    assert kept.read(tmp_path, "plan") == [boot(probe) for probe in PROBES]
    assert kept.read(tmp_path, "another plan") == []


@pytest.mark.parametrize("spoil", ["absent", "torn", "other"])
def test_boots_after_one_that_cannot_be_used_are_not_used(tmp_path: Path, spoil: str) -> None:
    """Boots are numbered without gaps, since evidence lists them in order."""
    for number, probe in enumerate(PROBES):
        kept.keep(tmp_path, number, "plan", boot(probe))
    path = tmp_path / "boot1.cbor"
    if spoil == "absent":
        path.unlink()
    elif spoil == "torn":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        kept.keep(tmp_path, 1, "another plan", boot("load"))
    assert kept.read(tmp_path, "plan") == [boot("boot")]


def test_a_run_that_ended_short_is_counted_and_the_number_never_falls(tmp_path: Path) -> None:
    place = tmp_path / ".tier1"
    kept.keep(place, 0, "plan", boot("load"))
    for expected in ("1", "2"):
        kept.finish(place, complete=False)
        assert (place / SHORT).read_text().strip() == expected
    assert kept.read(place, "plan") == [boot("load")]
    kept.finish(place, complete=True)
    assert [path.name for path in place.iterdir()] == [SHORT]
    assert (place / SHORT).read_text().strip() == "2"


def test_nothing_stays_where_no_run_ended_short(tmp_path: Path) -> None:
    place = kept.folder(tmp_path / "tier1.jsonl")
    kept.keep(place, 0, "plan", boot("load"))
    kept.finish(place, complete=True)
    assert list(tmp_path.iterdir()) == []
