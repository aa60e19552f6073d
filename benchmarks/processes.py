"""CPU time and memory of a tree of processes, from /proc."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """The part of /proc/PID/stat that matters here (proc(5)); CPU time in seconds, with that of children waited for."""

    pid: int
    state: str
    parent: int
    session: int
    cpu: float


def parse_stat(line: str) -> Stat:
    # The command name stands in parentheses and may hold spaces and parentheses itself, so the last one closes it.
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    return Stat(
        pid=int(head.partition("(")[0]),
        state=fields[0],
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu=sum(int(field) for field in fields[11:15]) / TICKS_A_SECOND,
    )


def snapshot(proc: Path = PROC) -> list[Stat]:
    stats = []
    for entry in proc.iterdir():
        if entry.name.isdigit():
            try:
                stats.append(parse_stat((entry / "stat").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                continue  # It ended between the listing and the reading.
    return stats


def family(stats: Iterable[Stat], leaders: Iterable[int]) -> list[Stat]:
    """The leaders, their sessions and all descendants, also those that began a session of their own."""
    stats = list(stats)
    sessions = set(leaders)
    found: dict[int, Stat] = {stat.pid: stat for stat in stats if stat.pid in sessions or stat.session in sessions}
    while True:
        more = {stat.pid: stat for stat in stats if stat.parent in found and stat.pid not in found}
        if not more:
            return list(found.values())
        found.update(more)


def cpu_seconds(leaders: Iterable[int]) -> float:
    return sum(stat.cpu for stat in family(snapshot(), leaders))


def parse_pss(rollup: str) -> int:
    """Bytes of proportional set size in the text of /proc/PID/smaps_rollup."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError("no Pss line in smaps_rollup")


def pss_bytes(leaders: Iterable[int]) -> dict[int, int]:
    """Proportional set size of each process of the family: pages that n processes share count 1/n in each."""
    sizes = {}
    for stat in family(snapshot(), leaders):
        if stat.state == "Z":
            continue
        try:
            sizes[stat.pid] = parse_pss((PROC / str(stat.pid) / "smaps_rollup").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended between the listing and the reading.
    return sizes
