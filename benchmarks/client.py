"""Client: one publisher, in a process of its own: ``python -m benchmarks.client ACTION JSON``.

It prints its figures as JSON. Interpreter start, imports, connecting and a warm-up come before the clock starts.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.describe import peer_of
from benchmarks.job import Job
from benchmarks.peers.base import Call, CanvasClient, Client, DelayClient, ResultClient, Task

Figures = dict[str, Any]


def _calls(first: int, count: int, extra: Sequence[Any]) -> list[Call]:
    return [(index, *extra) for index in range(first, first + count)]


def publish(
    client: Client, *, how: str, task: str, count: int, warm: int = 0, extra: Sequence[Any] = (), payload: int = 0
) -> Figures:
    """Tasks 0 … count-1, the first few of them before the clock starts."""
    send = {"each": client.send_each, "bulk": client.send_bulk}[how]
    extra = ("x" * payload,) if payload else extra
    if warm:
        send(task, _calls(0, warm, extra))
        client.flush()
    calls = _calls(warm, count - warm, extra)
    started, cpu = time.perf_counter(), time.process_time()
    send(task, calls)
    client.flush()
    return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu, "timed": count - warm}


def round_trips(client: ResultClient, *, count: int, warm: int) -> Figures:
    for value in range(warm):
        client.round_trip(value)
    latencies = []
    for value in range(count):
        started = time.perf_counter()
        answer = client.round_trip(value)
        latencies.append(time.perf_counter() - started)
        if answer != value:
            raise AssertionError(f"sent {value}, got {answer}")
    return {"latencies": latencies}


def _timed(check: object, action: Callable[[], object]) -> Figures:
    started, cpu = time.perf_counter(), time.process_time()
    answer = action()
    figures = {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}
    if answer != check:
        raise AssertionError("the answer is wrong")
    return figures


def fan_out(client: ResultClient, *, count: int, warm: int) -> Figures:
    for value in range(warm):
        client.round_trip(value)
    values = list(range(count))
    return _timed(values, lambda: client.fan_out(values))


def chord(client: CanvasClient, *, count: int) -> Figures:
    client.round_trip(0)
    values = list(range(count))
    return _timed(sum(values), lambda: client.chord(values))


def chain(client: CanvasClient, *, count: int) -> Figures:
    client.round_trip(0)
    return _timed(count, lambda: client.chain(count))


def delayed(client: DelayClient, *, count: int, due: float) -> Figures:
    started = time.perf_counter()
    client.send_delayed(Task.NOOP, _calls(0, count, ()), due)
    client.flush()
    return {"seconds": time.perf_counter() - started}


def declare(client: Client) -> Figures:
    return {}


ACTIONS: dict[str, Callable[..., Figures]] = {
    action.__name__: action for action in (declare, publish, round_trips, fan_out, chord, chain, delayed)
}


def main(action: str, arguments: str) -> None:
    peer = importlib.import_module(f"benchmarks.peers.{peer_of(Job.from_environment().subject)}")
    client = peer.client()
    client.declare()
    try:
        figures = ACTIONS[action](client, **json.loads(arguments))
    finally:
        client.close()
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
