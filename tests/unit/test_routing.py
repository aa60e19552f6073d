"""Routes, and the order in which call, route and task count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.routing import NO_OPTIONS, Route, Router, SendOptions
from amqtask.core.topology import Binding, Exchange, Queue, Topology
from amqtask.errors import NoRoute, UnknownQueue

TOPOLOGY = Topology(
    exchanges={"tasks": Exchange(name="tasks"), "all": Exchange(name="all", type="fanout")},
    queues={name: Queue(name=name) for name in ("hi", "lo", "audit")},
    bindings=(
        Binding(source="tasks", target="hi", key="hi.#"),
        Binding(source="tasks", target="lo", key="lo.#"),
        Binding(source="all", target="audit"),
    ),
)


def route(pattern: str, **options: object) -> Route:
    return Route(pattern=pattern, options=SendOptions(**options))  # type: ignore[arg-type]


def test_the_first_route_that_matches_is_taken() -> None:
    router = Router(TOPOLOGY, [route("mail.send", queue="hi"), route("mail.*", queue="lo"), route("*", queue="audit")])

    assert router.resolve("mail.send").queues == ("hi",)
    assert router.resolve("mail.drop").queues == ("lo",)
    assert router.resolve("report").queues == ("audit",)


def test_a_pattern_is_not_a_prefix() -> None:
    router = Router(TOPOLOGY, [route("mail", queue="hi")], default_queue="lo")

    assert router.resolve("mail.send").queues == ("lo",)


def test_a_name_with_brackets_is_matched_as_it_is_written() -> None:
    router = Router(TOPOLOGY, [route("job[1]", queue="hi")])

    assert router.resolve("job[1]").queues == ("hi",)
    assert router.resolve("job1").queues == ("hi",)


def test_a_template_takes_the_tasks_name_and_its_arguments() -> None:
    router = Router(
        TOPOLOGY,
        [
            route("report", exchange="tasks", routing_key="lo.{kwargs.kind}.{args.0}"),
            route("*", exchange="tasks", routing_key="hi.{task}"),
        ],
    )

    assert router.resolve("mail.send").routing_key == "hi.mail.send"
    assert router.resolve("report", [7], {"kind": "pdf"}).routing_key == "lo.pdf.7"
    assert router.resolve("report", [True], {"kind": "csv"}).routing_key == "lo.csv.true"


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ([], {"kind": "pdf"}, "positional argument 0"),
        ([1], {}, 'keyword argument "kind"'),
        ([1], {"kind": ["pdf"]}, "is a list"),
        ([1], {"kind": "k" * 300}, "longer than 255 bytes"),
    ],
)
def test_a_key_that_cannot_be_made_says_why(args: list[object], kwargs: dict[str, object], words: str) -> None:
    router = Router(TOPOLOGY, [route("report", exchange="tasks", routing_key="{kwargs.kind}.{args.0}")])

    with pytest.raises(NoRoute, match=words):
        router.resolve("report", args, kwargs)


def test_a_call_beats_a_route_and_a_route_beats_the_tasks_options() -> None:
    router = Router(TOPOLOGY, [route("mail.*", queue="lo", priority=3)])
    task = SendOptions(queue="audit", priority=1)

    assert router.resolve("other", task_options=task).queues == ("audit",)
    assert router.resolve("mail.x", task_options=task).queues == ("lo",)
    assert router.resolve("mail.x", task_options=task, call_options=SendOptions(queue="hi")).queues == ("hi",)
    assert router.resolve("mail.x", task_options=task).priority == 3
    assert router.resolve("mail.x", call_options=SendOptions(priority=9)).priority == 9


def test_zero_and_false_are_choices_like_any_other() -> None:
    router = Router(TOPOLOGY, [route("*", queue="hi", priority=5, confirm=True)])

    routing = router.resolve("t", call_options=SendOptions(priority=0, confirm=False))

    assert (routing.priority, routing.confirm) == (0, False)


def test_a_calls_key_goes_to_the_routes_exchange() -> None:
    router = Router(TOPOLOGY, [route("*", exchange="tasks", routing_key="lo.x")])

    routing = router.resolve("t", call_options=SendOptions(routing_key="hi.y"))

    assert (routing.exchange, routing.routing_key, routing.queues) == ("tasks", "hi.y", ("hi",))


def test_a_calls_exchange_is_not_mixed_with_a_routes_queue() -> None:
    router = Router(TOPOLOGY, [route("*", queue="lo")])

    routing = router.resolve("t", call_options=SendOptions(exchange="all"))

    assert (routing.exchange, routing.queues) == ("all", ("audit",))


def test_an_exchange_without_a_key_gets_the_tasks_name_as_key() -> None:
    router = Router(TOPOLOGY, [route("*", exchange="tasks")])

    assert router.resolve("hi.mail").routing_key == "hi.mail"
    assert router.resolve("hi.mail").queues == ("hi",)


def test_a_calls_key_is_taken_literally() -> None:
    router = Router(TOPOLOGY)

    assert router.resolve("t", call_options=SendOptions(exchange="tasks", routing_key="hi.{task}")).routing_key == (
        "hi.{task}"
    )


def test_the_default_queue_takes_what_no_route_takes() -> None:
    router = Router(TOPOLOGY, [route("mail.*", queue="hi")], default_queue="lo")

    routing = router.resolve("report")

    assert routing.queues == ("lo",)
    assert "default_queue" in routing.why


def test_the_default_exchange_setting_serves_calls_that_give_a_key_only() -> None:
    router = Router(TOPOLOGY, default_exchange="tasks")

    assert router.resolve("t", call_options=SendOptions(routing_key="lo.1")).queues == ("lo",)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (NO_OPTIONS, "no route takes t"),
        (SendOptions(routing_key="hi.1"), "no exchange"),
        (SendOptions(exchange="task"), 'did you mean "tasks"'),
        (SendOptions(queue="hi", exchange="tasks"), "one of both is wrong"),
    ],
)
def test_no_way_is_an_error_that_says_what_is_missing(call: SendOptions, words: str) -> None:
    with pytest.raises(NoRoute, match=words):
        Router(TOPOLOGY).resolve("t", call_options=call)


def test_an_unknown_queue_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UnknownQueue, match='did you mean "audit"'):
        Router(TOPOLOGY).resolve("t", call_options=SendOptions(queue="audti"))


def test_the_reason_names_who_decided() -> None:
    router = Router(TOPOLOGY, [Route(pattern="m*", options=SendOptions(exchange="tasks"), path=("routes", 0))])

    assert 'the route "m*" (routes[0])' in router.resolve("mail").why
    assert "the call" in router.resolve("mail", call_options=SendOptions(queue="hi")).why


def test_a_remembered_way_does_not_leak_into_calls_with_other_arguments() -> None:
    router = Router(TOPOLOGY, [route("r", exchange="tasks", routing_key="{kwargs.kind}")])
    router.resolve("r", kwargs={"kind": "hi.a"})

    assert router.resolve("r", kwargs={"kind": "lo.a"}).queues == ("lo",)


def test_a_remembered_way_does_not_leak_to_other_options_of_the_same_task() -> None:
    router = Router(TOPOLOGY)
    first, second = SendOptions(queue="hi"), SendOptions(queue="lo")

    assert [router.resolve("t", task_options=options).queues for options in (first, second, first)] == [
        ("hi",),
        ("lo",),
        ("hi",),
    ]


@given(
    st.lists(st.tuples(st.sampled_from(["a.*", "*", "a.b", "b.?", "c"]), st.sampled_from(["hi", "lo"])), max_size=5),
    st.lists(st.sampled_from(["a.b", "a.c", "b.x", "c", "d"]), max_size=10),
)
def test_remembering_changes_no_answer(routes: list[tuple[str, str]], names: list[str]) -> None:
    built = [route(pattern, queue=queue) for pattern, queue in routes]
    router = Router(TOPOLOGY, built, default_queue="audit")

    for name in names:
        assert router.resolve(name) == Router(TOPOLOGY, built, default_queue="audit").resolve(name)
