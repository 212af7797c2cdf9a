import pandas as pd
import pytest

from bench.analysis import fragments, prose, provenance, tables
from bench.analysis.sheets import Summary, select


@pytest.fixture(scope="module")
def summary(summary_folder):
    return Summary.read(summary_folder)


def altered(summary, table, change, where=lambda row: True):
    rows = summary[table].to_dict("records")
    rows = [row | change if where(row) else row for row in rows]
    return Summary({**summary.tables, table: pd.DataFrame(rows)})


def confidential(summary):
    """Rows of the headline ratio, the lowest first."""
    wanted = {"metric": prose.HEADLINE, "numerator": "enclave", "denominator": "plain"}
    rows = select(summary["overhead"], **wanted).to_dict("records")
    return sorted(rows, key=lambda row: row["ratio"])


def emulated(row):
    return row["field"] == "emulated"


def test_context_fields_may_have_any_part(summary):
    assert summary.context("per_boot.*.parity.*.threads") == ["2"]
    assert summary.context("per_boot.threads") == []


def test_an_emulated_platform_is_named_so_wherever_a_number_has_a_place(summary):
    assert summary.where("i", "m") == "m on i, emulated platform local"
    assert "No hardware protected this run." in prose.banner(summary)


def test_on_hardware_there_is_no_word_of_emulation(summary):
    hardware = altered(summary, "context", {"value": "false"}, emulated)
    assert prose.banner(hardware) == ""
    assert "emulated" not in hardware.where("i", "m")
    assert "**hardware**" in provenance.box(hardware)


def test_records_that_do_not_say_are_taken_as_emulated(summary):
    silent = altered(summary, "context", {"field": "other"}, emulated)
    assert "No hardware protected this run." in prose.banner(silent)


def test_records_of_which_some_are_emulated_are_taken_as_emulated(summary):
    def second(row):
        return emulated(row) and row["repetition"] == "2"

    assert altered(summary, "context", {"value": "false"}, second).emulated


def test_the_answer_names_the_lowest_and_the_highest_ratio(summary):
    ordered = confidential(summary)
    first = prose.answer(summary).split("\n\n")[0]
    low, high = (tables.measured(row, "ratio").split(" ")[0] for row in (ordered[0], ordered[-1]))
    assert first.index(f"**{low}\u00a0times**") < first.index(f"**{high}\u00a0times**")


def test_where_the_sides_differed_the_answer_is_why_there_is_none(summary):
    refused = {"status": "no parity", "detail": "threads differs", "ratio": ""}
    text = prose.answer(altered(summary, "overhead", refused))
    assert text.startswith("No price of confidentiality can be given for minilm on laptop")
    assert r"no parity\: threads differs" in text
    assert prose.cards(altered(summary, "overhead", refused)) == ""


def test_a_verdict_that_all_points_share_is_in_the_answer(summary):
    judged = altered(summary, "overhead", {"verdict": "good"})
    assert "In the specification's words: **good**." in prose.answer(judged)
    assert "specification" not in prose.answer(summary)


def test_points_with_different_verdicts_get_none_in_the_answer(summary):
    one = altered(summary, "overhead", {"verdict": "good"})
    two = altered(one, "overhead", {"verdict": "excellent"}, lambda row: row["at"] == "tokens=16")
    assert "specification" not in prose.answer(two)


def test_the_card_shows_the_highest_price_and_the_null_run_at_that_point(summary):
    highest = confidential(summary)[-1]
    made = prose.cards(summary)
    assert f"[{tables.measured(highest, 'ratio').split(' ')[0]} ×]{{.big}}" in made
    assert made.count(tables.point(highest["at"])) == 2


def test_without_an_evidence_check_the_page_warns(summary):
    unchecked = Summary({**summary.tables, "evidence": pd.DataFrame()})
    assert "Take its numbers as unsigned." in prose.evidence(unchecked)
    assert "unsigned" not in prose.evidence(summary)


def test_isolation_that_differed_between_boots_is_counted(summary):
    def fourth(row):
        return row["field"] == "per_boot.3.isolation.enclave.level"

    mixed = altered(summary, "context", {"value": "process"}, fourth)
    assert provenance.isolation(mixed).startswith("**enclave** bwrap (9 boots), process (3 boots)")


def reported(summary, third):
    """The summary, had the enclave found no network in any boot; of the third one says `third`."""
    context = summary["context"]
    told = context[context["field"].str.endswith(".isolation.enclave.level")]
    told = told.assign(field=told["field"].str.replace("level", "tcp_out"), value="false")
    told.loc[told["field"].str.startswith("per_boot.2."), "value"] = third
    both = pd.concat([context, told], ignore_index=True)
    return Summary({**summary.tables, "context": both})


@pytest.mark.parametrize(
    ("third", "held"),
    [("false", "no network, no new privileges"), ("true", "no new privileges")],
)
def test_what_kept_a_side_in_is_said_where_it_held_in_every_boot(summary, third, held):
    line = provenance.isolation(reported(summary, third))
    assert line.startswith(f"**enclave** bwrap in every boot: {held}; **bare** process in every")


def test_without_a_report_no_isolation_is_claimed(summary):
    silent = altered(summary, "context", {"field": "x"}, lambda row: ".isolation." in row["field"])
    assert provenance.isolation(silent) == "not recorded"
    assert "No side reported" in provenance.isolation_facts(silent)


def test_what_a_machine_cannot_say_has_no_row(summary):
    def unsaid(row):
        return row["field"] in ("cpu_governor", "revision")

    made = provenance.box(altered(summary, "context", {"field": "x"}, unsaid))
    assert "Governor\n" in provenance.box(summary)
    assert "Governor\n" not in made
    assert "Code\n" not in made


def test_facts_of_isolation_stand_side_by_side(summary):
    listed = provenance.isolation_facts(summary)
    assert r"| `cpus` | 0\, 1 (all 12 boots) | 0\, 1 (all 12 boots) |" in listed
    assert "| `level` | process (all 12 boots) | bwrap (all 12 boots) |" in listed


def test_what_the_records_do_not_say_is_not_recorded(summary):
    silent = altered(summary, "context", {"field": "x"}, lambda row: row["field"] == "kernel")
    assert "Kernel\n:   not recorded\n" in provenance.box(silent)


def test_failures_are_listed_with_their_reasons(summary):
    failed = {"statistic": "failures", "status": "failed", "value": 2, "detail": "timed out"}
    listed = prose.failures(altered(summary, "metrics", failed, lambda row: row["at"] == ""))
    assert "| Cold start | plain | 2 | timed out |" in listed


def test_what_was_not_measured_is_named(summary):
    absent = {"status": "not measured", "statistic": "", "detail": "planned"}
    listed = prose.failures(
        altered(summary, "metrics", absent, lambda row: row["metric"] == "throughput")
    )
    assert r"Not measured: Throughput \(planned\)." in listed


def test_a_field_that_differed_in_one_boot_has_a_row_of_its_own(summary):
    def one(row):
        return (row["repetition"], row["boot"], row["field"]) == ("1", "0", "threads")

    listed = provenance.parity(altered(summary, "parity", {"enclave": "1", "equal": "False"}, one))
    assert "| threads | 2 | 2 | 1 | 2 | 1 of 12 boots | **no** |" in listed
    assert "| threads | 2 | 2 | 2 | 2 | 11 of 12 boots | yes |" in listed


def test_the_specifications_share_of_flags_stands_corrected(summary):
    text = prose.specification(summary)
    assert "In a normal sample 0.27 % of all values" in " ".join(text.split())


def test_a_second_model_gets_labels_of_its_own(summary, tmp_path, literature):
    both = Summary(
        {
            name: pd.concat([table, table.assign(model="distilbert")], ignore_index=True)
            for name, table in summary.tables.items()
            if "model" in table
        }
        | {name: table for name, table in summary.tables.items() if "model" not in table}
    )
    fragments.write(both, literature, tmp_path)
    text = (tmp_path / "_memory.md").read_text()
    assert "{#tbl-peak-rss}" in text
    assert "{#tbl-peak-rss-2}" in text
    assert "distilbert on laptop" in text


def test_a_model_of_which_no_request_was_compared_leaves_the_answer_to_others(summary):
    own = summary["context"].assign(model="generator")
    both = pd.concat([summary["context"], own], ignore_index=True)
    further = Summary({**summary.tables, "context": both})
    assert len(further.groups()) == 2
    assert prose.answer(further) == prose.answer(summary)


def test_tiers_of_other_boots_are_told_apart(summary):
    assert "3, each of 4 boots of every side" in provenance.box(summary)

    def third(row):
        return row["field"] == "boots" and row["repetition"] == "3"

    mixed = altered(summary, "context", {"tier": "4", "value": "2"}, third)
    assert "3, each of 4 (tier 1) and 2 (tier 4) boots of every side" in provenance.box(mixed)


def test_a_tier_with_a_section_stands_there_as_the_catalogue_has_it(summary, tmp_path, literature):
    for name in ("metrics", "overhead"):
        moved = {"tier": "4", "metric": "resident_receipts"}
        summary = altered(summary, name, moved, lambda r: r["metric"] == "peak_rss")
    fragments.write(summary, literature, tmp_path)
    section = (tmp_path / "_security.md").read_text()
    assert "| Peak resident memory, MiB | plain |" in section
    assert "{#tbl-security-ratios}" in section
    assert (tmp_path / "_other.md").read_text() == "There are no others.\n"


def test_a_metric_without_a_section_stands_under_other(summary, tmp_path, literature):
    renamed = altered(
        summary, "metrics", {"metric": "novelty"}, lambda r: r["metric"] == "peak_rss"
    )
    shapeless = {"distribution": summary["distribution"].head(0)}
    fragments.write(Summary({**renamed.tables, **shapeless}), literature, tmp_path)
    assert "{#tbl-novelty}" in (tmp_path / "_other.md").read_text()
    assert (tmp_path / "_memory.md").read_text() == "Not measured.\n"
