import csv
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from bench import plan, records
from bench.analysis import summary
from bench.records import EVERY, Failure, Observation, RecordError, Records

TABLES = {
    "metrics",
    "overhead",
    "stages",
    "quality",
    "scaling",
    "distribution",
    "timeline",
    "context",
    "parity",
}
PLACE = {"instance": "laptop", "tier": 1, "repetition": 1}
MODELS = Path(__file__).parents[2] / "config" / "models.tsv"


def rows(folder, table, **wanted):
    with (folder / f"{table}.csv").open(newline="") as file:
        return [r for r in csv.DictReader(file) if all(r[k] == v for k, v in wanted.items())]


def summarise(paths, metrics, out, verdicts):
    summary.summarise(paths, metrics, verdicts, out, models=MODELS)
    return out


@pytest.fixture
def small(write_records, metrics, tmp_path, verdicts):
    """Summarise two repetitions of two boots; the keyword arguments change their contexts."""

    def run(**changes):
        paths = write_records(2, boots=2, blocks=5, **changes)
        return paths, lambda: summarise(paths, metrics, tmp_path / "summary", verdicts)

    return run


def rewrite(path, *, change=None, extra=(), drop=lambda line: False):
    """Write a records file again with an altered context, further lines, or fewer."""
    head, *lines = path.read_text().splitlines()
    context = json.loads(head)["context"]
    context = change(context) if change else context
    kept = [line for line in lines if not drop(json.loads(line))]
    records.write(path, context, [*kept, *map(records.encode, extra)])


def test_a_full_run_gives_one_row_for_one_printed_fact(summary_folder):
    assert {path.stem for path in summary_folder.glob("*.csv")} == TABLES | {
        "compliance",
        "evidence",
    }
    keys = ("metric", "side", "at", "statistic")
    facts = [tuple(row[key] for key in keys) for row in rows(summary_folder, "metrics")]
    assert len(facts) == len(set(facts)) > 500


def test_rows_are_in_order_whatever_order_chance_measured_them_in(small):
    paths, run = small()
    for path in paths:
        head, *lines = path.read_text().splitlines()
        path.write_text("\n".join([head, *reversed(lines)]) + "\n")
    found = rows(run(), "metrics", metric="request_latency", statistic="p50")
    order = [(row["at"], row["side"]) for row in found]
    assert order == [
        (f"tokens={tokens}", side)
        for tokens in (16, 64, 128)
        for side in ("plain", "bare", "enclave", "null")
    ]


def test_printed_medians_are_the_mean_of_the_boots_medians(small):
    paths, run = small()
    values = [
        (path, observation.boot, observation.value)
        for path in paths
        for observation in records.read(path).observations
        if (observation.metric, observation.side) == ("request_latency", "enclave")
        and observation.at == (("tokens", 64),) and not observation.warmup
    ]  # fmt: skip
    (row,) = rows(
        run(), "metrics", metric="request_latency", side="enclave", at="tokens=64", statistic="p50"
    )
    boots = pd.DataFrame(values).groupby([0, 1])[2]
    assert float(row["value"]) == pytest.approx(boots.median().mean())
    assert int(row["n"]) == len(values) == 2 * 2 * 5 * 2


def test_the_sample_that_was_made_six_per_cent_slower_is_found_to_be(summary_folder):
    found = rows(summary_folder, "overhead", metric="request_latency", denominator="plain")
    for row in found:
        true = {"enclave": 1.062, "bare": 1.035, "null": 1.0}[row["numerator"]]
        assert float(row["low"]) <= true <= float(row["high"])
    assert len(found) == 9


def test_nothing_on_an_emulated_platform_gets_a_verdict(summary_folder):
    found = rows(summary_folder, "overhead") + rows(summary_folder, "metrics")
    assert {row["verdict"] for row in found} == {"", "no verdict: emulated"}


def test_on_hardware_the_same_records_get_verdicts(small):
    _, run = small(platform="aws-nitro", emulated=False)
    folder = run()
    (row,) = rows(folder, "metrics", metric="cold_start", side="enclave", statistic="median")
    assert row["verdict"] == "undecided"  # 4 boots are no interval
    (row, *_) = rows(folder, "overhead", metric="peak_rss", numerator="enclave")
    assert row["verdict"] in ("normal", "undecided")


def test_the_same_records_give_the_same_bytes(small):
    _, run = small()
    first = {path.name: path.read_bytes() for path in run().glob("*.csv")}
    assert first == {path.name: path.read_bytes() for path in run().glob("*.csv")}


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("platform", "aws-nitro"),
        ("emulated", False),
        ("pcrs", {"0": "ff" * 48, "1": "b2" * 48, "2": "c3" * 48}),
        ("enclave_digest", "00" * 32),
        ("weights_sha256", "00" * 32),
    ],
)
def test_records_of_different_things_are_never_mixed(small, field, other):
    paths, run = small()
    rewrite(paths[1], change=lambda context: context | {field: other})
    with pytest.raises(RecordError) as caught:
        run()
    assert str(caught.value).startswith(f"{paths[1]}, line 1, field {field}: ")
    assert f"as in {paths[0]}" in str(caught.value)


def test_another_model_has_weights_of_its_own(small):
    paths, run = small()
    rewrite(paths[1], change=lambda c: c | {"model": "distilbert", "weights_sha256": "00" * 32})
    assert {row["model"] for row in rows(run(), "metrics")} == {"minilm", "distilbert"}


@pytest.mark.parametrize("field", ["emulated", "pcrs", "enclave_digest", "weights_sha256", "tier"])
def test_records_that_do_not_say_whether_they_may_be_mixed_are_refused(small, field):
    paths, run = small()
    rewrite(paths[0], change=lambda c: {name: c[name] for name in c if name != field})
    with pytest.raises(RecordError, match=rf"field {field}: found None"):
        run()


def test_a_repetition_counts_once(small):
    paths, run = small()
    rewrite(paths[1], change=lambda context: context | {"repetition": 1})
    with pytest.raises(RecordError, match=re.escape(f"another cell than {paths[0]} holds")):
        run()


def test_a_metric_the_catalogue_does_not_know_is_refused(small):
    paths, run = small()
    rewrite(paths[0], extra=[Observation("warmth", "plain", 0, 0, 0, 1.0)])
    with pytest.raises(RecordError, match="field metric: found 'warmth'"):
        run()


def test_a_side_the_metric_does_not_have_is_refused(small):
    paths, run = small()
    rewrite(paths[0], extra=[Observation("peak_rss", "tcp", 0, 0, 0, 1.0)])
    with pytest.raises(RecordError, match="field side: found 'tcp', expected one of plain, bare"):
        run()


def test_a_failure_is_listed_with_its_reason_and_never_a_zero(small):
    paths, run = small()
    for path in paths:
        rewrite(
            path,
            drop=lambda line: (line["metric"], line["side"]) == ("peak_rss", "enclave"),
            extra=[Failure("peak_rss", "enclave", 0, "no /proc in the enclave")],
        )
    folder = run()
    (row,) = rows(folder, "metrics", metric="peak_rss", side="enclave")
    assert (row["statistic"], row["value"], row["status"]) == ("failures", "2", "failed")
    assert row["detail"] == "no /proc in the enclave"
    assert rows(folder, "overhead", metric="peak_rss", numerator="enclave") == []


def test_a_metric_that_no_record_holds_is_called_not_measured(small):
    paths, run = small()
    for path in paths:
        rewrite(path, drop=lambda line: line["metric"] == "throughput")
    (row,) = rows(run(), "metrics", metric="throughput")
    assert (row["status"], row["value"], row["statistic"]) == ("not measured", "", "")


def test_a_tier_that_was_not_run_leaves_no_rows(summary_folder):
    assert rows(summary_folder, "metrics", metric="cost") == []


def test_where_the_sides_differ_the_ledger_says_so_and_no_ratio_is_printed(small):
    paths, run = small()

    def fewer_threads(context):
        context["per_boot"][1]["parity"]["enclave"]["threads"] = 1
        return context

    rewrite(paths[1], change=fewer_threads)
    folder = run()
    (row,) = rows(folder, "parity", equal="False")
    assert (row["repetition"], row["boot"], row["field"]) == ("2", "1", "threads")
    found = rows(folder, "overhead", metric="request_latency", numerator="enclave")
    assert {row["status"] for row in found} == {"no parity"}
    assert {row["ratio"] for row in found} == {""}
    assert rows(folder, "overhead", metric="request_latency", numerator="null", status="ok")


def test_a_boot_without_a_ledger_proves_no_parity(small):
    paths, run = small()

    def silent(context):
        del context["per_boot"][0]["parity"]["enclave"]
        return context

    rewrite(paths[0], change=silent)
    found = rows(run(), "overhead", metric="request_latency", numerator="enclave")
    assert {row["detail"] for row in found} == {"parity unknown: no cpus recorded for enclave"}


def test_the_context_is_kept_leaf_by_leaf(summary_folder):
    found = rows(summary_folder, "context", repetition="2")
    facts = {row["field"]: row["value"] for row in found}
    assert facts["pcrs.0"] == "a1" * 48
    assert facts["per_boot.3.isolation.enclave.level"] == "bwrap"
    assert facts["emulated"] == "true"


def test_the_waterfall_of_a_side_holds_only_the_stages_it_has(summary_folder):
    plain = {row["stage"] for row in rows(summary_folder, "stages", side="plain")}
    assert "attest" not in plain
    assert {"launch", "load", "sum", "whole", "residual"} <= plain


def test_no_records_give_empty_tables(metrics, tmp_path, verdicts):
    folder = summarise([], metrics, tmp_path / "summary", verdicts)
    assert all(rows(folder, table) == [] for table in TABLES)


def test_a_failed_probe_marks_all_sides_and_none_of_its_values_counts(small):
    """What it had found until then stays in the records: here for one boot of four."""
    paths, run = small()
    before = rows(run(), "metrics", metric="peak_rss", side="enclave", statistic="median")[0]
    rewrite(paths[0], extra=[Failure("peak_rss", EVERY, 0, "OSError: gone")])
    folder = run()
    failed = rows(folder, "metrics", metric="peak_rss", statistic="failures")
    assert {row["side"] for row in failed} == {"plain", "bare", "enclave", "null"}
    assert {row["detail"] for row in failed} == {"OSError: gone"}
    (after,) = rows(folder, "metrics", metric="peak_rss", side="enclave", statistic="median")
    assert int(after["n"]) == int(before["n"]) - 1


def test_a_side_that_a_boot_did_not_start_is_no_lack_of_parity(small):
    """A further boot has only the servers that its probes need."""
    paths, run = small()

    def two_sides(context):
        boot = context["per_boot"][0]
        boot["sides"] = ["plain", "enclave"]
        boot["parity"] = {side: boot["parity"][side] for side in boot["sides"]}
        return context

    rewrite(paths[0], change=two_sides)
    folder = run()
    assert rows(folder, "parity", equal="False") == []
    found = rows(folder, "overhead", metric="request_latency")
    assert "no parity" not in {row["status"] for row in found}


def test_models_come_as_their_table_has_them():
    names = ("distilbert-seeded", "llama-trained", "minilm", "new")
    sources = [
        summary.Source(Path(name), Records(PLACE | {"model": name}, (), ())) for name in names
    ]
    known = plan.models(MODELS)
    ordered = [source["model"] for source in summary._ordered(sources, known)]
    assert ordered[0] == "minilm" and ordered[-1] == "new"
