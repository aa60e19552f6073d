"""The fold of events into nodes and tasks: any order, duplicates and losses leave a sane state."""

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from amqtask.events.cluster import STATES, Cluster

KINDS = [*STATES, "worker-online", "worker-heartbeat", "worker-offline", "task-custom", "nonsense"]

events = st.fixed_dictionaries(
    {
        "type": st.sampled_from(KINDS),
        "hostname": st.sampled_from(["a@h", "b@h"]),
        "timestamp": st.integers(0, 20),
        "uuid": st.sampled_from(["1", "2", "3"]),
    },
    optional={"name": st.sampled_from(["x", "y"]), "result": st.text(max_size=3), "active": st.integers(0, 5)},
)


def event(kind: str, at: float, **fields: Any) -> dict[str, Any]:
    return {"type": kind, "hostname": "a@h", "timestamp": at, "uuid": "1", **fields}


def fold(found: list[dict[str, Any]]) -> Cluster:
    cluster = Cluster()
    for item in found:
        cluster.take(item)
    return cluster


def tasks(cluster: Cluster) -> dict[str, tuple[Any, ...]]:
    return {t.id: (t.state, t.changed, tuple(sorted(t.times.items())), t.name) for t in cluster.tasks.values()}


def nodes(cluster: Cluster) -> dict[str, tuple[Any, ...]]:
    return {n.name: (n.online, n.last) for n in cluster.nodes.values()}


def test_a_task_goes_its_way() -> None:
    cluster = fold(
        [
            event("task-received", 1, name="add", args="(1, 2)"),
            event("task-started", 2),
            event("task-succeeded", 3, result="3", runtime=1.0),
        ]
    )

    task = cluster.tasks["1"]
    assert (task.state, task.name, task.node, task.facts["result"], task.is_over) == (
        "SUCCESS",
        "add",
        "a@h",
        "3",
        True,
    )


@given(st.lists(events, max_size=30), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_tasks_and_nodes(found: list[dict[str, Any]], chance: random.Random) -> None:
    shuffled = list(found)
    chance.shuffle(shuffled)

    assert tasks(fold(found)) == tasks(fold(shuffled))
    assert nodes(fold(found)) == nodes(fold(shuffled))


@given(st.lists(events, max_size=30))
def test_duplicates_change_nothing(found: list[dict[str, Any]]) -> None:
    assert tasks(fold(found)) == tasks(fold([*found, *found]))
    assert nodes(fold(found)) == nodes(fold([*found, *found]))


@given(st.lists(events, max_size=30), st.data())
def test_with_losses_a_task_is_never_further_than_it_was(found: list[dict[str, Any]], data: st.DataObject) -> None:
    kept = [item for item in found if data.draw(st.booleans())]

    whole, part = fold(found), fold(kept)

    for task in part.tasks.values():
        assert task.rank <= whole.tasks[task.id].rank


@given(st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text()), max_size=10))
def test_what_is_no_event_changes_nothing(junk: list[dict[str, Any]]) -> None:
    cluster = fold([item for item in junk if "type" not in item])

    assert (len(cluster.nodes), len(cluster.tasks)) == (0, 0)


@given(st.lists(st.integers(0, 1000), max_size=200))
def test_its_memory_is_bounded(ids: list[int]) -> None:
    cluster = Cluster(most_tasks=10, most_nodes=5)
    for number in ids:
        cluster.take(event("task-received", 1, uuid=str(number)))
        cluster.take(event("worker-heartbeat", 1, hostname=str(number)))

    assert len(cluster.tasks) <= 10
    assert len(cluster.nodes) <= 5


def test_a_node_is_alive_while_its_heartbeats_come() -> None:
    cluster = fold([event("worker-online", 10, freq=2.0)])

    assert [node.name for node in cluster.alive(13.9)] == ["a@h"]
    assert cluster.alive(14.1) == []
    cluster.take(event("worker-offline", 12))
    assert cluster.alive(12.5) == []


def test_tasks_are_found_by_id_name_and_state() -> None:
    cluster = fold(
        [
            event("task-received", 1, uuid="abc", name="mail.send"),
            event("task-failed", 2, uuid="def", name="mail.read", exception="E"),
        ]
    )

    assert [task.id for task in cluster.find("mail")] == ["def", "abc"]
    assert [task.id for task in cluster.find("ab")] == ["abc"]
    assert [task.id for task in cluster.find(states=frozenset({"FAILURE"}))] == ["def"]
