"""One measuring job: what to measure, and where it goes."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from bench.probes import Workload

PLACES = ("records", "evidence")  # where it goes decides nothing


@dataclass(frozen=True, slots=True)
class Job:
    """`code` is a digest of the code that measures; `boots` how many each probe has to end well."""

    tier: int
    instance: str
    model: str
    repetition: int
    repetitions: int
    boots: int
    seed: int
    code: str
    probes: Sequence[str]
    workload: Workload
    records: Path
    evidence: Path

    def plan(self, facts: Mapping[str, object]) -> dict[str, object]:
        """What a boot's observations depend on; `records.identity` of it is signed with them."""
        values = asdict(self) | {"probes": list(self.probes), **facts}
        return {name: values[name] for name in values if name not in PLACES}


def module(name: str) -> ModuleType:
    """The file of `bench.probes` of that name."""
    return importlib.import_module(f"bench.probes.{name}")


def needs(name: str) -> Sequence[str]:
    """Probes that have to run before this one in the same boot, since it measures what they left.

    Of those, the ones that a job has.
    """
    found: Sequence[str] = getattr(module(name), "NEEDS", ())
    return found


def ends_servers(name: str) -> bool:
    """Whether a probe starts servers of its own and ends them before the boot does."""
    return bool(getattr(module(name), "ENDS_SERVERS", False))
