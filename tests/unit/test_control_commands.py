"""The arguments of commands, and commands that a node cannot carry out."""

from typing import cast

import pytest

from amqtask.control.commands import CommandFailed, Commands, NodeView, Parameter, Spec, bind
from amqtask.control.inspecting import INSPECT
from amqtask.control.steering import CONTROL
from amqtask.core.message import Json

ALL = Commands([*INSPECT, *CONTROL])
# Celery's names (celery.app.control.Inspect and Control, of the commands that are for users).
CELERYS = (
    "active active_queues add_consumer autoscale cancel_consumer clock conf disable_events enable_events heartbeat"
    " hello memsample ping pool_grow pool_restart pool_shrink query_task rate_limit registered report reserved revoke"
    " revoke_by_stamped_headers revoked scheduled shutdown stats terminate time_limit"
)


def spec(*parameters: Parameter, lasting: bool = False) -> Spec:
    return Spec(name="do", kind="control", help="", run=lambda v, a, d: None, parameters=parameters, lasting=lasting)


@pytest.mark.parametrize("name", CELERYS.split())
def test_celerys_commands_are_there(name: str) -> None:
    assert ALL.find(name) is not None


@pytest.mark.parametrize(
    ("type_", "given", "bound"),
    [
        ("text", "a", "a"),
        ("text", 5, "5"),
        ("texts", "a", ["a"]),
        ("texts", ["a", "b"], ["a", "b"]),
        ("integer", "3", 3),
        ("seconds", "1.5", 1.5),
        ("flag", "true", True),
        ("flag", False, False),
        ("rate", "10/m", "10/m"),
        ("object", {"a": 1}, {"a": 1}),
        ("any", None, None),
    ],
)
def test_arguments_get_their_types(type_: str, given: Json, bound: Json) -> None:
    assert bind(spec(Parameter("x", type_)), {"x": given}) == {"x": bound}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        ("text", True),
        ("text", ["a"]),
        ("texts", {"a": 1}),
        ("integer", "many"),
        ("integer", -1),
        ("integer", True),
        ("seconds", "inf"),
        ("seconds", -1),
        ("flag", "maybe"),
        ("rate", "often"),
        ("object", "a"),
    ],
)
def test_an_argument_of_another_type_is_named(type_: str, given: Json) -> None:
    with pytest.raises(CommandFailed, match=r"do: x is (a|true)"):
        bind(spec(Parameter("x", type_)), {"x": given})  # type: ignore[arg-type]


def test_missing_and_unknown_arguments_are_named() -> None:
    with pytest.raises(CommandFailed, match="needs the argument 'queue'"):
        bind(spec(Parameter("queue")), {})
    with pytest.raises(CommandFailed, match=r"no argument 'quue'; did you mean \"queue\""):
        bind(spec(Parameter("queue")), {"quue": "a"})


def test_null_is_the_default() -> None:
    assert bind(spec(Parameter("n", "integer", 1)), {"n": None}) == {"n": 1}


def test_only_what_lasts_can_be_persisted() -> None:
    assert bind(spec(lasting=True), {"persist": True}) == {"persist": True}
    with pytest.raises(CommandFailed, match="persist"):
        bind(spec(), {"persist": True})


def test_an_unknown_command_is_an_answer() -> None:
    said: list[object] = []

    ALL.run("dance", {}, cast(NodeView, None), said.append)

    assert "unknown command 'dance'" in str(said)


def test_a_failure_is_an_answer() -> None:
    said: list[object] = []

    ALL.run("rate_limit", {"task_name": "a", "rate_limit": "often"}, cast(NodeView, None), said.append)

    assert said == [
        {"error": "rate_limit: rate_limit is a rate: 'often' is no rate; write 10/s, 200/m or 5/h, and 0 for none"}
    ]
