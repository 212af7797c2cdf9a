"""Prices: what ships is right, and what is wrong is named by its field."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from bench import plan, prices
from bench.plan import Instance
from bench.tables import ConfigError

ROOT = Path(__file__).parents[1]
SNAPSHOTS = sorted((ROOT / "config" / "prices").glob("*.json"))
KNOWN = plan.instances(ROOT / "config" / "instances.tsv")


def row(**changes: Any) -> dict[str, Any]:
    """One price, with these fields said otherwise; None leaves one out."""
    told = {"provider": "p", "region": "r", "instance": "i", "class": "on-demand"}
    told |= {"usd_per_hour": 0.5} | changes
    return {name: told[name] for name in told if told[name] is not None}


def write(folder: Path, *rows: Any, **changes: Any) -> Path:
    told: dict[str, Any] = {"schema": 1, "date": "2026-01-31", "currency": "USD"}
    told |= {"kind": "estimate", "source": "s", "note": "n", "rows": list(rows)} | changes
    path = folder / "2026-01-31.json"
    path.write_text(json.dumps({name: told[name] for name in told if told[name] is not None}))
    return path


@pytest.mark.parametrize("path", SNAPSHOTS, ids=lambda path: path.stem)
def test_shipped_snapshots_are_right_and_price_every_instance(path: Path) -> None:
    snapshot = prices.read(path)
    assert snapshot.sha256 == sha256(path.read_bytes()).hexdigest()
    wanted = {row.priced_as for row in KNOWN} - {""}
    assert wanted <= {price.instance for price in snapshot.prices}
    assert all(price.source and price.as_of for price in snapshot.prices)


def test_what_a_row_does_not_say_the_snapshot_says(tmp_path: Path) -> None:
    path = write(tmp_path, row(), row(**{"class": "spot"}, source="t", as_of="2025-09", gpu="g"))
    first, second = prices.read(path).of("i")
    assert (first.source, first.as_of, first.gpu) == ("s", "2026-01-31", "")
    assert (second.source, second.as_of, second.gpu) == ("t", "2025-09", "g")
    assert [first.price_class, second.price_class] == ["on-demand", "spot"]


def test_an_instance_without_a_price_has_none(tmp_path: Path) -> None:
    assert prices.read(write(tmp_path, row())).of("other") == ()


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        pytest.param({"usd_per_hour": 0}, "rows[0].usd_per_hour", "a number above 0", id="free"),
        pytest.param(
            {"usd_per_hour": "0.5"}, "rows[0].usd_per_hour", "a number above 0", id="text"
        ),
        pytest.param({"usd_per_hour": True}, "rows[0].usd_per_hour", "a number above 0", id="true"),
        pytest.param(
            {"usd_per_hour": float("nan")}, "rows[0].usd_per_hour", "a number above 0", id="nan"
        ),
        pytest.param({"class": "cheap"}, "rows[0].class", "one of on-demand, spot", id="class"),
        pytest.param({"region": ""}, "rows[0].region", "text", id="no_region"),
        pytest.param({"region": None}, "rows[0].region", "a value", id="absent"),
        pytest.param({"clas": "spot"}, "rows[0].clas", "one of provider", id="misspelt"),
    ],
)
def test_a_wrong_price_is_named(
    tmp_path: Path, changes: dict[str, Any], field: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        prices.read(write(tmp_path, row(**changes)))
    assert caught.value.field == field
    assert expected in str(caught.value.expected)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema": 2}, "schema"),
        ({"date": "2026-02-01"}, "date"),
        ({"date": "January"}, "date"),
        ({"currency": "EUR"}, "currency"),
        ({"kind": "guess"}, "kind"),
        ({"source": ""}, "source"),
        ({"rows": []}, "rows"),
        ({"rows": ["0.5"]}, "rows[0]"),
        ({"note": None}, "note"),
        ({"prices": []}, "prices"),
    ],
)
def test_a_wrong_snapshot_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        prices.read(write(tmp_path, row(), **changes))
    assert caught.value.field == field
    assert str(tmp_path) in str(caught.value)


def test_two_prices_of_one_instance_and_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rows\[1\]: found 'i on-demand', .*rows\[0\] has it"):
        prices.read(write(tmp_path, row(), row(region="elsewhere")))


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff"])
def test_what_is_no_snapshot_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "2026-01-31.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="field file"):
        prices.read(path)


def test_the_newest_snapshot_counts(tmp_path: Path) -> None:
    for day in ("2026-01-31", "2025-12-31", "2026-01-04"):
        (tmp_path / f"{day}.json").touch()
    assert prices.newest(tmp_path).stem == "2026-01-31"


def test_a_folder_without_a_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 'no snapshot'"):
        prices.newest(tmp_path)


def bought(platform: str, name: str) -> dict[str, str | int | bool]:
    chosen = [row for row in KNOWN if (row.platform, row.instance) == (platform, name)]
    return prices.bought(chosen, KNOWN)[name]


@pytest.mark.parametrize(
    ("platform", "name", "vcpus", "server_vcpus", "enclaves", "hypothetical"),
    [
        ("local", "laptop-2vcpu", 4, 2, 1, True),  # the vCPUs are those that the price buys
        ("aws-nitro", "c6i.xlarge", 4, 2, 1, False),
        ("aws-nitro", "c6i.2xlarge", 8, 4, 1, False),  # of 8 the parent keeps 2: 6 hold one of 4
        ("gcp-confidential-space", "c3-standard-4", 4, 4, 1, False),  # the machine is the enclave
    ],
)
def test_what_is_bought(
    platform: str, name: str, vcpus: int, server_vcpus: int, enclaves: int, hypothetical: bool
) -> None:
    found = bought(platform, name)
    assert (found["vcpus"], found["server_vcpus"]) == (vcpus, server_vcpus)
    assert (found["enclaves"], found["hypothetical"]) == (enclaves, hypothetical)


def test_an_enclave_that_leaves_its_parent_no_core_does_not_fit() -> None:
    greedy = Instance("aws-nitro", "x", 4, 8192, 4, 1024, "x", "")
    assert prices.bought([greedy], [greedy])["x"]["enclaves"] == 0


def test_an_instance_that_is_priced_as_nothing_is_left_out() -> None:
    assert prices.bought([Instance("local", "x", 2, 8192, 2, 1024, "", "")], KNOWN) == {}
