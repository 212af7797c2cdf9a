"""Result files of others: read as their harness writes them, refused by field, kept apart."""

import csv
import json
from pathlib import Path

import pytest

from bench import plan
from bench.analysis import published, published_table, sheets, summary
from bench.analysis.sheets import Summary
from bench.records import RecordError

ROOT = Path(__file__).parents[2]
METRICS = ROOT / "config" / "metrics.tsv"
SHIPPED = sorted((ROOT / "config" / "published").rglob("*"))

LATENCY = {"mean": 80.0, "p50": 79.0, "p95": 82.0, "p99": 83.0, "min": 78.0, "max": 84.0}
# In the shape of the original's files; its way to say "not measured" is 0.0.
SERVED = {
    "environment": "bare_metal",
    "hardware": "m6i.xlarge",
    "model_id": "minilm-l6",
    "inference": {
        "num_iterations": 100,
        "latency_ms": LATENCY,
        "throughput_inferences_per_sec": 12.5,
    },
    "stages": {"attestation_ms": 0.0, "model_load_ms": 45.5, "cold_start_total_ms": 208.0},
    "memory": {"peak_rss_mb": 266.5},
    "vsock": {"rtt_64b_ms": 0.0, "rtt_1mb_ms": 4.2},
}
HOST = {"environment": "bare_metal", "hardware": "m6i.xlarge"}
OTHERS = {
    "crypto": HOST
    | {
        "hpke": {"session_setup_ms": LATENCY},
        "receipt": {"sign_ms": LATENCY, "verify_ms": LATENCY},
    },
    "cose": HOST | {"full_verification_ms": LATENCY},
    "concurrent": HOST
    | {
        "model_id": "minilm-l6",
        "levels": [{"concurrency": 4, "throughput_inferences_per_sec": 14.4}],
    },
    "input_scaling": HOST
    | {"model_id": "minilm-l6", "sizes": [{"actual_tokens": 63, "latency_ms": LATENCY}]},
}


def write(folder, told, kind="baseline", run="run1"):
    path = folder / "campaign" / run / f"{kind}_results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    return path


def served(mean, environment="bare_metal"):
    """A run of one side with this mean."""
    latency = LATENCY | {"mean": mean, "p50": mean}
    return SERVED | {"environment": environment, "inference": {"latency_ms": latency}}


def changed(place, value):
    """SERVED with what stands at a dotted place said otherwise; None leaves it out."""
    told = json.loads(json.dumps(SERVED))
    *way, last = place.split(".")
    here = told
    for name in way:
        here = here[name]
    here[last] = value
    if value is None:
        del here[last]
    return told


def rows(folder, paths, **wanted):
    published.summarise(paths, METRICS, folder / "published.csv")
    with (folder / "published.csv").open(newline="") as file:
        return [r for r in csv.DictReader(file) if all(r[k] == v for k, v in wanted.items())]


def test_a_run_of_one_side_is_read_and_0_is_not_measured(tmp_path):
    run = published.read(write(tmp_path, SERVED))
    assert (run.campaign, run.name, run.hardware) == ("campaign", "run1", "m6i.xlarge")
    assert (run.model, run.evidence) == ("minilm-l6", "as published")
    facts = {(fact.metric, fact.at, fact.statistic): fact.value for fact in run.facts}
    assert facts == {
        ("inference_latency", "", "mean"): 80.0,
        ("inference_latency", "", "p50"): 79.0,
        ("throughput", "sessions=1", "mean"): 12.5,
        ("cold_start", "", "mean"): 208.0,
        ("cold_start_stage", "stage=load", "mean"): 45.5,
        ("peak_rss", "", "mean"): 266.5,
        ("transport_round_trip", "payload_bytes=1048576", "mean"): 4.2,
    }
    assert {fact.side for fact in run.facts} == {"plain"}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("crypto", {("session_setup", ""), ("receipt_issue", ""), ("receipt_check", "")}),
        ("cose", {("evidence_check", "")}),
        ("concurrent", {("throughput", "sessions=4")}),
        ("input_scaling", {("inference_latency", "tokens=63")}),
    ],
)
def test_every_shape_of_the_originals_files_is_read(tmp_path, kind, expected):
    run = published.read(write(tmp_path, OTHERS[kind], kind))
    assert {(fact.metric, fact.at) for fact in run.facts} == expected


# Means of three runs: 80, 82, 84 plain; 88, 90.2, 92.4 enclave, which is 1.1 times in every run.
def test_runs_are_what_the_statistics_are_given(tmp_path):
    paths = []
    for number, mean in enumerate((80, 82, 84)):
        paths.append(write(tmp_path, served(mean), run=f"run{number}"))
        paths.append(write(tmp_path, served(1.1 * mean, "enclave"), "enclave", f"run{number}"))
    (plain,) = rows(tmp_path, paths, metric="inference_latency", side="plain", statistic="mean")
    # t with two degrees of freedom is 4.3027; the standard error is 2 / sqrt(3).
    assert float(plain["value"]) == pytest.approx(82)
    assert float(plain["high"]) == pytest.approx(82 + 4.3027 * 2 / 3**0.5, abs=1e-3)
    (ratio,) = rows(tmp_path, paths, side="enclave/plain", statistic="p50",
                    metric="inference_latency")  # fmt: skip
    assert [float(ratio[name]) for name in ("value", "low", "high")] == pytest.approx([1.1] * 3)
    assert (ratio["unit"], ratio["runs"]) == ("ratio", "3")


def test_two_runs_have_no_interval_and_say_so(tmp_path):
    paths = [write(tmp_path, SERVED, run=f"run{number}") for number in range(2)]
    (row,) = rows(tmp_path, paths, metric="inference_latency", statistic="mean")
    assert (row["value"], row["status"], row["detail"]) == ("", "not estimable", "2 of 3 runs")


def test_a_run_without_its_other_side_is_in_no_ratio(tmp_path):
    paths = [write(tmp_path, SERVED), write(tmp_path, served(88, "enclave"), "enclave", "run2")]
    found = rows(tmp_path, paths, side="enclave/plain", metric="inference_latency")
    assert {row["runs"] for row in found} == {"0"}


def test_campaigns_and_machines_are_not_pooled(tmp_path):
    paths = [write(tmp_path / name, SERVED) for name in ("one", "two")]
    other = SERVED | {"hardware": "c6i.xlarge"}
    paths.append(write(tmp_path / "one", other, run="run2"))
    found = rows(tmp_path, paths, metric="peak_rss")
    assert len(found) == 2
    assert sorted(row["hardware"] for row in found) == ["c6i.xlarge", "m6i.xlarge"]


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("environment", "bare_metal_mock", "one of bare_metal, enclave"),
        ("environment", None, "text"),
        ("environment", "enclave", "that of the file's name"),
        ("hardware", 4, "text"),
        ("inference.latency_ms.mean", None, "a number above 0"),
        ("inference.latency_ms.mean", 0.0, "a number above 0"),
        ("inference.latency_ms.p50", "79", "a number above 0"),
        ("inference.latency_ms.p50", float("nan"), "a number above 0"),
        ("memory.peak_rss_mb", True, "a number above 0"),
        ("stages.model_load_ms", -1.0, "a number above 0"),
    ],
)
def test_a_malformed_file_is_named_with_its_field(tmp_path, place, value, expected):
    path = write(tmp_path, changed(place, value))
    with pytest.raises(RecordError) as caught:
        published.read(path)
    assert f"{path}, line 1, field {place}: found" in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"), [("{", "line 1, field file"), ("[1]", "a map"), ("", "JSON")]
)
def test_what_is_no_result_is_named(tmp_path, text, said):
    with pytest.raises(RecordError, match="expected") as caught:
        published.read(write(tmp_path, text))
    assert said in str(caught.value)


@pytest.mark.parametrize("levels", [None, [], "many", [4]])
def test_a_list_that_holds_no_runs_is_named(tmp_path, levels):
    path = write(tmp_path, OTHERS["concurrent"] | {"levels": levels}, "concurrent")
    with pytest.raises(RecordError, match="field levels"):
        published.read(path)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "run_metadata.json").write_text("{")
    (tmp_path / "tier1.jsonl").write_text("{")
    assert rows(tmp_path, list(tmp_path.iterdir())) == []


# --- What ships -------------------------------------------------------------------------------

# Overheads of the means in per cent, as the campaign's runs have them on average.
HEADLINES = {"minilm-l6": 13.97, "minilm-l12": 12.92, "bert-base": 11.93}


@pytest.mark.parametrize("model", HEADLINES)
def test_the_shipped_campaign_gives_its_published_overheads(tmp_path, model):
    """Means typed in to 0.1 ms may move a ratio of 80 ms by 0.1 points."""
    (row,) = rows(tmp_path, SHIPPED, model=model, side="enclave/plain", statistic="mean",
                  metric="inference_latency")  # fmt: skip
    assert float(row["value"]) * 100 - 100 == pytest.approx(HEADLINES[model], abs=0.1)
    assert row["runs"] == "3"
    assert "typed in" in row["evidence"]


def test_published_rows_are_never_among_measured_ones(write_records, metrics, verdicts, tmp_path):
    paths = write_records(1, boots=1, blocks=2)
    models = ROOT / "config" / "models.tsv"
    summary.summarise(paths, metrics, verdicts, tmp_path / "own", models=models)
    before = {path.name: path.read_bytes() for path in (tmp_path / "own").glob("*.csv")}
    published.summarise(SHIPPED, METRICS, tmp_path / "own" / "published.csv")
    found = Summary.read(tmp_path / "own")
    assert set(found["published"]["platform"]) == {"published"}
    assert before == {name: (tmp_path / "own" / name).read_bytes() for name in before}
    assert all("published" not in set(found[name].get("platform", [])) for name in sheets.COLUMNS)


def test_no_measurement_can_call_itself_published(write_records, metrics, verdicts, tmp_path):
    assert published.PLATFORM not in plan.PLATFORMS
    _, theirs = write_records(2, boots=1, blocks=2, platform="published")
    (ours,) = write_records(1, boots=1, blocks=2)
    with pytest.raises(RecordError, match="field platform"):
        summary.summarise(
            [ours, theirs], metrics, verdicts, tmp_path / "s", models=ROOT / "config/models.tsv"
        )


def test_the_page_puts_ours_beside_the_published_and_names_both_machines(summary_folder, tmp_path):
    published.summarise(SHIPPED, METRICS, tmp_path / "published.csv")
    own = Summary.read(summary_folder)
    beside = Summary({**own.tables, "published": sheets.read(tmp_path, "published")})
    text = published_table.section(beside).replace("\\", "")
    assert "| 1.14 [1.12, 1.16] | 3 | 1.06" in text
    assert "Published (m6i.xlarge; typed in" in text
    assert "emulated platform local" in text
    assert "not for dividing" in text


def test_where_nothing_was_imported_the_page_says_so(tmp_path):
    text = published_table.section(Summary.read(tmp_path))
    assert text == "No result files of others were imported.\n"
