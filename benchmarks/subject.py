"""Subject: a variant of a peer that is there to be measured, with the versions it was found in."""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import describe
from benchmarks.job import Job
from benchmarks.peers.base import Variant
from benchmarks.worker import ROOT

PEERS = Path(__file__).resolve().parent / "peers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    variant: Variant
    versions: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.variant.name

    def commands(self, job: Job, python: str) -> list[list[str]]:
        """One command, or one a process."""
        return [
            [_fill(word, job, python, number) for word in self.variant.worker]
            for number in range(job.processes if self.variant.one_process_each else 1)
        ]

    def environment(self, job: Job, python: str) -> dict[str, str]:
        """Of every process of a sample."""
        own = {name: _fill(value, job, python) for name, value in self.variant.environment.items()}
        return environment(job) | own

    def settings(self, job: Job, python: str) -> str:
        return _fill(self.variant.settings, job, python)

    def leftovers(self, job: Job, python: str) -> tuple[list[str], list[str]]:
        """Queues and exchanges that a sample leaves behind."""
        queues = [_fill(name, job, python) for name in self.variant.queues]
        return queues, [_fill(name, job, python) for name in self.variant.exchanges]


def _fill(text: str, job: Job, python: str, number: int = 0) -> str:
    return text.format(
        python=python,
        bin=os.path.dirname(python),
        queue=job.queue,
        processes=job.processes,
        in_flight=job.in_flight,
        number=number,
    )


def environment(job: Job | None = None) -> dict[str, str]:
    """What the harness's processes inherit: the checkout on the path, and nothing that another tool left about."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return inherited | {"PYTHONPATH": str(ROOT)} | (job.environment() if job else {})


def discover(python: str, wanted: Sequence[str]) -> tuple[list[Subject], dict[str, str]]:
    """The wanted subjects, by the names of peers or variants (all, when none is named), and why peers are missing."""
    subjects, missing = [], {}
    for peer in describe.peer_names(PEERS):
        if wanted and not any(describe.peer_of(name) == peer for name in wanted):
            continue
        answer = subprocess.run(
            [python, "-m", "benchmarks.describe", peer], env=environment(), cwd=ROOT, capture_output=True, text=True
        )
        if answer.returncode:
            missing[peer] = (answer.stderr.strip() or "no answer").splitlines()[-1]
            continue
        variants, versions = describe.decode(answer.stdout)
        subjects += [Subject(variant=variant, versions=versions) for variant in variants]
    return [subject for subject in subjects if not wanted or is_wanted(subject.name, wanted)], missing


def is_wanted(subject: str, wanted: Iterable[str]) -> bool:
    """By its own name, or as any variant of the peer when only the peer has a name there."""
    wanted = set(wanted)
    return subject in wanted or describe.peer_of(subject) in wanted
