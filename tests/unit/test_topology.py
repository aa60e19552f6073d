"""What is asked of a broker for a topology, and in which order."""

import pytest

from amqtask.core.declare import BindExchange, BindQueue, DeclareExchange, DeclareQueue
from amqtask.core.queue_arguments import parse_version
from amqtask.core.topology import Binding, Exchange, Queue, Topology, declare_ops

TOPOLOGY = Topology(
    exchanges={
        "in": Exchange(name="in", type="fanout"),
        "tasks": Exchange(name="tasks", alternate="rest"),
        "rest": Exchange(name="rest", type="fanout"),
        "dlx": Exchange(name="dlx", type="fanout"),
        "other": Exchange(name="other"),
    },
    queues={
        "hi": Queue(name="hi", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "hi.dlq"}),
        "lo": Queue(name="lo", arguments={"x-dead-letter-exchange": "dlx"}),
        "hi.dlq": Queue(name="hi.dlq"),
        "dead": Queue(name="dead"),
        "catchall": Queue(name="catchall"),
        "else": Queue(name="else"),
    },
    bindings=(
        Binding(source="in", target="tasks", to_exchange=True),
        Binding(source="tasks", target="hi", key="hi.#"),
        Binding(source="tasks", target="lo", key="lo.#"),
        Binding(source="rest", target="catchall"),
        Binding(source="dlx", target="dead"),
        Binding(source="other", target="else", key="#"),
    ),
)


def names(ops: tuple[object, ...]) -> list[str]:
    shown = []
    for op in ops:
        match op:
            case DeclareExchange():
                shown.append(f"exchange {op.name}")
            case DeclareQueue():
                shown.append(f"queue {op.name}")
            case BindQueue():
                shown.append(f"{op.exchange} -> {op.queue}")
            case BindExchange():
                shown.append(f"{op.source} -> exchange {op.destination}")
    return shown


def test_exchanges_come_first_then_dead_letter_queues_then_queues_then_bindings() -> None:
    assert names(declare_ops(TOPOLOGY, "always")) == [
        "exchange in",
        "exchange tasks",
        "exchange rest",
        "exchange dlx",
        "exchange other",
        "queue hi.dlq",
        "queue hi",
        "queue lo",
        "queue dead",
        "queue catchall",
        "queue else",
        "in -> exchange tasks",
        "tasks -> hi",
        "tasks -> lo",
        "rest -> catchall",
        "dlx -> dead",
        "other -> else",
    ]


def test_some_queues_need_what_leads_to_them_and_where_their_dead_letters_go() -> None:
    assert names(declare_ops(TOPOLOGY, "always", queues=["hi"])) == [
        "exchange in",
        "exchange tasks",
        "exchange rest",
        "queue hi.dlq",
        "queue hi",
        "queue catchall",
        "in -> exchange tasks",
        "tasks -> hi",
        "rest -> catchall",
    ]
    assert "dlx -> dead" in names(declare_ops(TOPOLOGY, "always", queues=["lo"]))
    assert names(declare_ops(TOPOLOGY, "always", queues=["else"])) == [
        "exchange other",
        "queue else",
        "other -> else",
    ]


def test_verify_asks_passively_and_binds_nothing() -> None:
    ops = declare_ops(TOPOLOGY, "verify")

    assert len(ops) == len(TOPOLOGY.exchanges) + len(TOPOLOGY.queues)
    assert all(isinstance(op, (DeclareExchange, DeclareQueue)) and op.passive for op in ops)


def test_never_asks_nothing() -> None:
    assert declare_ops(TOPOLOGY, "never") == ()


def test_an_objects_own_mode_goes_before_the_general_one() -> None:
    topology = Topology(
        exchanges={"theirs": Exchange(name="theirs", declare="never"), "seen": Exchange(name="seen", declare="verify")},
        queues={"q": Queue(name="q"), "legacy": Queue(name="legacy", declare="verify")},
        bindings=(
            Binding(source="theirs", target="q"),
            Binding(source="theirs", target="legacy"),
        ),
    )

    ops = declare_ops(topology, "always")

    assert names(ops) == ["exchange seen", "queue q", "queue legacy", "theirs -> q", "theirs -> legacy"]
    assert [op.passive for op in ops if isinstance(op, (DeclareExchange, DeclareQueue))] == [True, False, True]


def test_what_is_declared_by_itself_is_bound_in_any_mode() -> None:
    topology = Topology(
        exchanges={"x": Exchange(name="x")},
        queues={"mine": Queue(name="mine", declare="always"), "q": Queue(name="q")},
        bindings=(Binding(source="x", target="mine"), Binding(source="x", target="q")),
    )

    assert names(declare_ops(topology, "never")) == ["queue mine", "x -> mine"]


def test_an_exclusive_queue_is_declared_only_for_those_who_use_it() -> None:
    topology = Topology(
        exchanges={"x": Exchange(name="x")},
        queues={"mine": Queue(name="mine", type="classic", exclusive=True), "q": Queue(name="q")},
        bindings=(Binding(source="x", target="mine"), Binding(source="x", target="q")),
    )

    assert names(declare_ops(topology, "always")) == ["exchange x", "queue q", "x -> q"]
    assert names(declare_ops(topology, "always", queues=["mine"])) == ["exchange x", "queue mine", "x -> mine"]


def test_no_limit_is_never_sent_as_minus_one_for_which_old_servers_drop_messages() -> None:
    topology = Topology(queues={"q": Queue(name="q", arguments={"x-delivery-limit": -1})})

    (op,) = declare_ops(topology, "always")

    assert isinstance(op, DeclareQueue)
    assert op.arguments["x-delivery-limit"] == 2**31 - 1


def test_a_limit_is_sent_as_it_is() -> None:
    topology = Topology(queues={"q": Queue(name="q", arguments={"x-delivery-limit": 0})})

    (op,) = declare_ops(topology, "always")

    assert isinstance(op, DeclareQueue)
    assert op.arguments == {"x-queue-type": "quorum", "x-delivery-limit": 0}


def test_the_type_is_always_sent() -> None:
    topology = Topology(queues={"q": Queue(name="q", type="classic")})

    (op,) = declare_ops(topology, "always")

    assert isinstance(op, DeclareQueue)
    assert op.arguments == {"x-queue-type": "classic"}


def test_the_alternate_exchange_is_an_argument() -> None:
    (op,) = declare_ops(Topology(exchanges={"x": Exchange(name="x", alternate="y", arguments={"a": 1})}), "always")

    assert isinstance(op, DeclareExchange)
    assert op.arguments == {"a": 1, "alternate-exchange": "y"}


def test_dead_letter_circles_do_not_keep_the_needed_part_from_being_found() -> None:
    def queue(name: str, dead: str) -> Queue:
        return Queue(name=name, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead})

    topology = Topology(queues={"a": queue("a", "b"), "b": queue("b", "a"), "c": Queue(name="c")})

    assert list(topology.needed_by(["a"]).queues) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "version"),
    [("RabbitMQ 3.10.8", (3, 10, 8)), ("4.3", (4, 3)), ("RabbitMQ 4.3.0-rc.1", (4, 3, 0)), ("x", None)],
)
def test_a_servers_version_is_found_in_its_own_words(text: str, version: tuple[int, ...] | None) -> None:
    assert parse_version(text) == version
