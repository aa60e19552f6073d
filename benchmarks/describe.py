"""Describe a peer: ``python -m benchmarks.describe PEER`` prints its variants and versions as JSON."""

import dataclasses
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.job import Job
from benchmarks.peers.base import Feature, Guarantees, Variant

NOT_PEERS = {"__init__", "base"}


def peer_names(folder: Path) -> list[str]:
    """The adapters in the folder, without importing any."""
    return sorted(path.stem for path in folder.glob("*.py") if path.stem not in NOT_PEERS)


def peer_of(subject: str) -> str:
    return subject.partition("-")[0]


def encode(variants: Iterable[Variant], versions: Mapping[str, str]) -> str:
    rows = [dataclasses.asdict(variant) | {"features": sorted(variant.features)} for variant in variants]
    return json.dumps({"variants": rows, "versions": dict(versions), "python": platform.python_version()})


def decode(text: str) -> tuple[list[Variant], dict[str, str]]:
    content: dict[str, Any] = json.loads(text)
    variants = [
        Variant(
            **row
            | {
                "guarantees": Guarantees(**row["guarantees"]),
                "features": frozenset(Feature(feature) for feature in row["features"]),
                "worker": tuple(row["worker"]),
                "queues": tuple(row["queues"]),
                "exchanges": tuple(row["exchanges"]),
            }
        )
        for row in content["variants"]
    ]
    return variants, content["versions"] | {"python": content["python"]}


def main(peer: str) -> None:
    # Adapters read their job when they are imported; this one connects nowhere.
    nowhere = Job(
        subject=peer, url="amqp://guest:guest@127.0.0.1:5672/", redis_url="redis://127.0.0.1:6379/0", queue="none"
    )
    os.environ.update(nowhere.environment())
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    versions = {name: importlib.metadata.version(name) for name in module.DISTRIBUTIONS}
    print(encode(module.VARIANTS, versions))


if __name__ == "__main__":
    main(sys.argv[1])
