"""Node facts: what is seen of a node's processes from outside, without asking them."""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from amqtask.core.message import Json
from amqtask.worker.autoscale import Autoscaler
from amqtask.worker.briefing import Briefing
from amqtask.worker.plan import Plan
from amqtask.worker.process import Process

NO_WRITES: dict[str, Json] = {"total": 0, "avg": "0.00", "all": "", "raw": "", "strategy": "N/A"}
NO_WRITES["inqueues"] = {"active": 0, "total": 0}
"""Celery's numbers of what is written to processes: here each of them consumes by itself."""


def stats(
    plan: Plan,
    briefing: Briefing,
    processes: Sequence[Process],
    *,
    load: tuple[int, int],
    begun: float,
    clock: int,
    scaler: Autoscaler | None,
) -> dict[str, Json]:
    """The numbers of a node, in Celery's form and some more."""
    address = briefing.addresses[0]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pids: list[Json] = [process.pid for process in processes]
    loads: list[Json] = [round(value, 2) for value in os.getloadavg()]
    return {
        "pid": os.getpid(),
        "clock": str(clock),
        "uptime": int(time.time() - begun),
        "version": briefing.version,
        "active": load[0],
        "processed": load[1],
        "reserved": sum(process.board.counters()[1] for process in processes),
        "loadavg": loads,
        "pool": {
            "implementation": plan.pool,
            "max-concurrency": len(processes) * plan.slots,
            "processes": pids,
            "slots": plan.slots,
            "threads": plan.slots if plan.pool == "threads" else None,
            "max-tasks-per-child": plan.max_tasks or "N/A",
            "put-guarded-by-semaphore": False,
            "timeouts": [0, 0],
            "writes": NO_WRITES,
        },
        "autoscaler": None
        if scaler is None
        else {"max": scaler.most, "min": scaler.fewest, "current": len(processes), "qty": 0},
        "broker": {
            "hostname": address.host,
            "port": address.port,
            "userid": address.user,
            "virtual_host": address.vhost,
            "transport": "amqps" if address.tls else "amqp",
            "transport_options": {},
            "ssl": address.tls is not None,
            "driver": plan.driver,
            "heartbeat": address.heartbeat,
            "connect_timeout": briefing.connect_timeout,
            "login_method": address.mechanism,
            "insist": False,
            "uri_prefix": None,
            "failover_strategy": "shuffle" if briefing.shuffle else "order",
            "alternates": [str(other) for other in briefing.addresses[1:]],
        },
        "prefetch_count": sum(plan.prefetch.values()) or len(processes) * plan.slots,
        "rusage": {name.removeprefix("ru_"): getattr(usage, name) for name in dir(usage) if name.startswith("ru_")},
    }


def describe_process(process: Process) -> dict[str, Json]:
    """A process: what it does, for how long, and how large it is."""
    now = time.monotonic()
    processed, reserved, pulse = process.board.counters()
    running: list[Json] = [
        {"id": item.id, "name": item.task, "for": round(now - item.started, 3)} for item in process.running()
    ]
    return {
        "index": process.index,
        "pid": process.pid,
        "state": _state(process),
        "uptime": round(now - process.started, 1),
        "running": running,
        "processed": processed,
        "reserved": reserved,
        "memory": _memory(process.pid),
        "pulse": round(now - pulse, 3) if pulse else None,
    }


def board(process: Process, node: str) -> list[dict[str, Json]]:
    """What a process executes, by its board, in the form of `inspect active`."""
    mono, wall = time.monotonic(), time.time()
    return [
        {
            "id": item.id,
            "name": item.task,
            "type": item.task,
            "args": None,
            "kwargs": None,
            "hostname": node,
            "time_start": wall - (mono - item.started),
            "acknowledged": False,
            "delivery_info": {},
            "worker_pid": process.pid,
            "silent": True,
        }
        for item in process.running()
    ]


def _state(process: Process) -> str:
    if process.stopping:
        return "stopping"
    if not process.ready:
        return "starting"
    if _is_stopped(process.pid):
        return "stopped"
    return "busy" if process.running() else "idle"


def _is_stopped(pid: int) -> bool:
    try:
        # /proc/PID/stat: the name in parentheses may hold anything, so from the last one on.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False


def _memory(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return None
