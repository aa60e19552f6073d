"""Tasks that were acknowledged early have somebody who answers for them, whoever dies."""

import socket
from collections.abc import Iterator

import pytest

from amqtask.worker.board import Board
from amqtask.worker.orphans import Orphans
from amqtask.worker.pipe import Note, Pipe
from amqtask.worker.process import Process


class Family:
    """Processes that can take notes, and the other ends of their pipes."""

    def __init__(self) -> None:
        self._ends: dict[int, Pipe] = {}
        self._processes: list[Process] = []

    def process(self, *, ready: bool = True) -> Process:
        pipe, theirs = Pipe.pair()
        process = Process(0, pipe, Board.create(1))
        process.ready = ready
        self._ends[process.number] = Pipe(theirs)
        self._processes.append(process)
        return process

    def told(self, process: Process) -> list[str]:
        """The ids of the tasks that a process was told to end."""
        return [note["task"]["id"] for note in self._ends[process.number].rest()]

    def close(self) -> None:
        for process in self._processes:
            process.close()
            self._ends[process.number].close()


@pytest.fixture
def family() -> Iterator[Family]:
    family = Family()
    yield family
    family.close()


def begun(task_id: str) -> Note:
    return {"is": "early", "id": task_id}


def test_what_a_process_left_goes_to_one_that_is_ready_and_stays(family: Family) -> None:
    orphans, dead, starting, stopping, heir = Orphans(), *(family.process(ready=n != 1) for n in range(4))
    stopping.stopping = True
    for task_id in ("a", "b"):
        orphans.began(dead, begun(task_id))
    orphans.over(dead, {"id": "a"})
    orphans.left(dead, [starting, stopping, heir])
    assert [family.told(process) for process in (starting, stopping, heir)] == [[], [], ["b"]]


def test_it_waits_for_a_process_and_goes_on_to_the_next_until_one_says_that_it_is_over(family: Family) -> None:
    orphans, dead, first, second, third = Orphans(), *(family.process() for _ in range(4))
    orphans.began(dead, begun("a"))
    orphans.left(dead, [])
    orphans.adopt(first)
    orphans.left(first, [second])
    orphans.over(second, {"id": "a"})
    orphans.left(second, [third])
    assert [family.told(process) for process in (first, second, third)] == [["a"], ["a"], []]


def test_what_nobody_gave_an_end_is_named_at_last(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    orphans, dead, other = Orphans(), family.process(), family.process()
    orphans.began(dead, begun("a"))
    orphans.began(other, begun("b"))
    orphans.left(dead, [])
    orphans.end()
    assert "2 tasks were acknowledged before they ran and are lost without a result: a, b" in caplog.text


def test_the_rest_of_a_pipe_is_read_without_waiting_for_its_other_end() -> None:
    ours, theirs = socket.socketpair()
    pipe, other = Pipe(ours), Pipe(theirs)
    for number in range(3):
        other.send({"number": number, "padding": "x" * 50_000})
    assert [note["number"] for note in pipe.rest()] == [0, 1, 2]
    assert list(pipe.rest()) == []
    pipe.close()
    other.close()
