"""Bundles of whole runs: from files to rows of a summary, and to the page."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from bench.analysis import compliance, compliance_table, sheets
from bench.analysis.sheets import Summary
from bench.verify.compliance import verdict
from bench.verify.compliance.bundle import Bundle
from bench.verify.compliance.properties import PROPERTIES, UNPROVABLE
from tests.verify import exhibits

PLACE = {"platform": "local", "instance": "laptop", "model": "tiny"}
FACTS = {"platform": "local", "emulated": "true"}
CONTEXT = pd.DataFrame([PLACE | {"field": name, "value": FACTS[name]} for name in FACTS])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a short run left behind, its bundle where the rule has it, and the bundle's rows."""
    folder = tmp_path_factory.mktemp("run")
    exhibits.make(folder)
    bundle = folder / "compliance" / "laptop" / "tiny.cbor"
    bundle.parent.mkdir(parents=True)
    (folder / "bundle.cbor").rename(bundle)
    trusted = {name: folder / f"{name}.json" for name in ("measurements", "public")}
    compliance.check(
        [bundle],
        authority=trusted["public"],
        measurements=trusted["measurements"],
        out=folder / "compliance.csv",
    )
    return folder


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "compliance.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def summary(run: Path) -> Summary:
    return Summary({"context": CONTEXT, "compliance": sheets.read(run, "compliance")})


def test_a_bundle_holds_what_the_run_left_behind(run: Path) -> None:
    found = Bundle.decode((run / "compliance" / "laptop" / "tiny.cbor").read_bytes())
    assert [made.name for made in found.runs] == [f"{run.name}/tier1"]
    assert [len(boot.sessions) for made in found.runs for boot in made.boots] == [1]
    assert found.manifest == (run / "manifest.cose").read_bytes()


def test_records_changed_before_they_are_collected_are_not_what_was_signed(run: Path) -> None:
    """The digest in a bundle is that of the lines as they lie there."""
    changed = run / "changed"
    changed.mkdir()
    text = (run / "tier1.jsonl").read_text()
    (changed / "tier1.jsonl").write_text(text.replace("1.5", "2.5"))
    honest = Bundle.decode((run / "compliance" / "laptop" / "tiny.cbor").read_bytes())
    made = compliance.run(changed / "tier1.jsonl", run / "tier1.evidence.cbor")
    assert made.boots[0].records != honest.runs[0].boots[0].records
    assert made.boots[0].sessions == list(honest.runs[0].boots[0].sessions)


def test_every_property_is_a_row_of_the_summary(run: Path) -> None:
    found = rows(run)
    assert [row["id"] for row in found] == [*(asked.id for asked in PROPERTIES), *UNPROVABLE]
    assert {row["instance"] for row in found} == {"laptop"}
    assert {row["model"] for row in found} == {"tiny"}
    judged = {row["id"]: row["result"] for row in found}
    assert judged["receipts"] == judged["anchors"] == "proven"
    assert judged["zeroization"] == judged["immutability"] == "not proven"


def test_the_page_counts_what_is_proven_and_says_by_whose_word(run: Path) -> None:
    text = " ".join(compliance_table.section(summary(run)).split())
    assert "Of 22 security properties **13 are proven** (11 of them on the word of an" in text
    assert "0 failed and 9 are not proven; tiny on laptop, emulated platform local." in text
    assert "callout" not in text


def test_the_page_shows_each_checked_row_and_each_open_one_with_its_reason(run: Path) -> None:
    text = compliance_table.section(summary(run))
    checked, _, rest = text.partition("{#tbl-compliance}")
    lines = [line for line in checked.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == 13
    assert all("| proven" in line for line in lines)
    assert sum("| proven, emulated |" in line for line in lines) == 11
    assert "| Data zeroization | Python cannot wipe memory" in rest
    assert rest.count("\n| ") == 2 + 9
    assert "{#tbl-compliance-open}" in rest


def test_digests_on_the_page_are_cut_and_those_of_the_summary_are_whole(run: Path) -> None:
    text = compliance_table.section(summary(run))
    weights = exhibits.WEIGHTS.hex()
    assert f"`{weights[:12]}…`" in text
    assert weights not in text
    assert any(weights in row["evidence"] for row in rows(run))


def test_a_property_that_failed_stands_out(run: Path) -> None:
    table = sheets.read(run, "compliance")
    table.loc[table["id"] == "key-policy", ["result", "detail"]] = ["failed", "key policy: found x"]
    text = compliance_table.section(Summary({"context": CONTEXT, "compliance": table}))
    assert '::: {.callout-important title="Security properties failed"}' in text
    assert "| The key opens for this image alone | **failed** | key policy\\: found x |" in text


def test_a_second_bundle_has_labels_of_its_own(run: Path) -> None:
    table = sheets.read(run, "compliance")
    second = table.assign(model="other", bundle="elsewhere.cbor")
    both = Summary({"context": CONTEXT, "compliance": pd.concat([table, second])})
    text = compliance_table.section(both)
    for label in ("compliance}", "compliance-open}", "compliance-2}", "compliance-open-2}"):
        assert text.count(f"{{#tbl-{label}") == 1
    assert "python -m bench.verify elsewhere.cbor" in text


def test_without_a_check_the_page_claims_nothing(tmp_path: Path) -> None:
    empty = Summary({"compliance": sheets.read(tmp_path, "compliance")})
    assert compliance_table.section(empty) == (
        "No compliance bundle was checked when this page was made.\n"
    )


def test_what_is_printed_can_be_judged_again_by_anyone(run: Path) -> None:
    """The rows follow from the file alone, but for the one that only a reviewer can fill."""
    again = verdict.verify((run / "compliance" / "laptop" / "tiny.cbor").read_bytes())
    alone = {row.id: row.result.value for row in again}
    printed = {row["id"]: row["result"] for row in rows(run)}
    assert printed | {"anchors": "not proven"} == alone
