"""A whole local platform around a tiny model with seeded weights, made once for these tests."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import measure
from bench.emulators import estate
from bench.image import build
from bench.measure.job import Job
from bench.platforms import Shape, local, owner
from bench.probes import Workload
from bench.weights import origin, seal

REPOSITORY = Path(__file__).parents[2]
SESSIONS = 4
SHAPE = Shape(vcpus=1, memory_mib=2048)
DIMENSIONS = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
}
ROW = {
    "model": "tiny",
    "version": "1",
    "architecture": "bert",
    "source": "seeded",
    "locator": "-",
    "sha256": "-",
    "seed": "7",
    "config": " ".join(f"{name}={value}" for name, value in DIMENSIONS.items()),
    "precision": "fp32",
    "title": "Tiny",
    "license": "Apache-2.0",
}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> local.Files:
    """Every file of a run of an encoder."""
    return made(ROW, tmp_path_factory.mktemp("local"))


def made(row: Mapping[str, str], folder: Path) -> local.Files:
    """Every file of a run, made by the library calls that the workflow's scripts make."""
    state = folder / "emulators"
    public = estate.provision(state, datetime.now(UTC))
    origin.fetch(row, folder / "source")
    key = owner.data_key(state, seal.context(row["model"], row["version"]))
    seal.seal(
        folder / "source",
        folder / "sealed",
        data_key=key.plaintext,
        wrapped_key=key.wrapped,
        key_arn=key.arn,
        owner=estate.owner(state),
        nonce_prefix=secrets.token_bytes(7),
    )
    build.build_image(
        REPOSITORY / "enclave",
        cmdline=f"platform=local owner={public.owner}",
        kernel=b"no kernel boots in this test\n",
        default_memory_mib=SHAPE.memory_mib,
        default_cpus=SHAPE.vcpus,
        image=folder / "image.eif",
        measurements=folder / "measurements.json",
    )
    return local.Files(
        image=folder / "image.eif",
        measurements=folder / "measurements.json",
        source=folder / "source",
        sealed=folder / "sealed",
        state=state,
        logs=folder / "logs",
    )


@pytest.fixture(scope="session")
def machine(files: local.Files) -> Iterator[local.Machine]:
    """The platform, leased."""
    with local.lease(files, SHAPE, sessions=SESSIONS, require=None) as leased:
        yield leased


@pytest.fixture
def copied(files: local.Files, tmp_path: Path) -> local.Files:
    """The same files, free to be tampered with."""
    shutil.copytree(files.sealed, tmp_path / "sealed")
    for name in ("image.eif", "measurements.json"):
        shutil.copy(files.image.parent / name, tmp_path / name)
    return replace(
        files,
        image=tmp_path / "image.eif",
        measurements=tmp_path / "measurements.json",
        sealed=tmp_path / "sealed",
        logs=tmp_path / "logs",
    )


WORKLOAD = Workload(
    tokens=(8, 16),
    blocks=2,
    warmup=1,
    sessions=(1, 2),
    load_requests=4,
    payload_bytes=(64,),
    round_trips=2,
    security_blocks=1,
    padding=(0, 4096),
)


TIERS = {
    1: ["boot", "request", "transport", "load", "memory"],
    4: ["release", "handshake", "receipt", "padding", "compliance"],
}


def measured(
    machine: local.Machine,
    folder: Path,
    tier: int,
    boots: int,
    probes: Sequence[str] = (),
    workload: Workload = WORKLOAD,
) -> Job:
    """A whole tier, or these probes, measured for real, as small as it can be."""
    job = Job(
        tier=tier,
        instance="test",
        model="tiny",
        repetition=1,
        repetitions=1,
        boots=boots,
        seed=1,
        code="",
        probes=probes or TIERS[tier],
        workload=workload,
        records=folder / f"tier{tier}.jsonl",
        evidence=folder / f"tier{tier}.evidence.cbor",
    )
    measure.tier(machine, job)
    return job


@pytest.fixture(scope="session")
def job(machine: local.Machine, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Tier 1 in two boots."""
    return measured(machine, tmp_path_factory.mktemp("records"), tier=1, boots=2)


@pytest.fixture(scope="session")
def security(machine: local.Machine, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Tier 4 in one boot."""
    return measured(machine, tmp_path_factory.mktemp("records"), tier=4, boots=1)
