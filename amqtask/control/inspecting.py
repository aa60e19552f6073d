"""The commands that look: those of `celery inspect` in their forms, and `processes`, `memory`, `orders`, `commands`."""

from collections.abc import Callable, Mapping
from typing import cast

from amqtask.control.commands import Arguments, CommandFailed, Done, NodeView, Parameter, ProcessAnswer, Spec, Type
from amqtask.control.memory import MEMORY
from amqtask.core.message import Json
from amqtask.core.standing import texts


def _ping(view: NodeView, arguments: Arguments, done: Done) -> None:
    done({"ok": "pong"})


def _listing(question: str) -> Callable[[NodeView, Arguments, Done], None]:
    def run(view: NodeView, arguments: Arguments, done: Done) -> None:
        def answered(answers: list[ProcessAnswer]) -> None:
            found: list[Json] = []
            for answer in answers:
                if isinstance(answer.value, list):
                    found.extend(answer.value)
                elif question == "active":
                    # It is stopped, or too busy to answer; what it executes is seen all the same.
                    found.extend(view.board(answer.pid))
            done(found)

        view.ask(question, arguments, answered)

    return run


def _query_task(view: NodeView, arguments: Arguments, done: Done) -> None:
    wanted = set(texts(arguments["ids"]))

    def answered(answers: list[ProcessAnswer]) -> None:
        found: dict[str, Json] = {}
        for answer in answers:
            if isinstance(answer.value, dict):
                found.update(answer.value)
            else:
                found.update({str(i["id"]): ["active", i] for i in view.board(answer.pid) if i["id"] in wanted})
        done(found)

    view.ask("query_task", arguments, answered)


def _revoked(view: NodeView, arguments: Arguments, done: Done) -> None:
    done([key.partition(":")[2] for key, order in view.standing() if order.method == "revoke"])


def _registered(view: NodeView, arguments: Arguments, done: Done) -> None:
    wanted = texts(arguments["taskinfoitems"])
    lines = []
    for name, facts in view.tasks().items():
        shown = [f"{item}={facts[item]}" for item in wanted if facts.get(item) is not None]
        lines.append(f"{name} [{' '.join(shown)}]" if shown else name)
    done(lines)


def _active_queues(view: NodeView, arguments: Arguments, done: Done) -> None:
    done(list(view.queues().values()))


def _stats(view: NodeView, arguments: Arguments, done: Done) -> None:
    def answered(answers: list[ProcessAnswer]) -> None:
        total: dict[str, int] = {}
        outcomes: dict[str, int] = {}
        for answer in answers:
            if isinstance(answer.value, dict):
                _add(total, answer.value.get("total"))
                _add(outcomes, answer.value.get("outcomes"))
        done({"total": total, **view.stats(), "outcomes": outcomes})

    view.ask("stats", {}, answered)


def _add(sums: dict[str, int], numbers: Json) -> None:
    for name, number in numbers.items() if isinstance(numbers, dict) else ():
        if isinstance(number, int):
            sums[name] = sums.get(name, 0) + number


def _conf(view: NodeView, arguments: Arguments, done: Done) -> None:
    done(view.fact("conf" if arguments["with_defaults"] else "conf_given"))


def _report(view: NodeView, arguments: Arguments, done: Done) -> None:
    done({"ok": view.fact("report")})


def _clock(view: NodeView, arguments: Arguments, done: Done) -> None:
    done({"clock": view.clock()})


def _processes(view: NodeView, arguments: Arguments, done: Done) -> None:
    done(view.processes())


def _orders(view: NodeView, arguments: Arguments, done: Done) -> None:
    done({key: order.to_json() for key, order in view.standing()})


def _hello(view: NodeView, arguments: Arguments, done: Done) -> None:
    """A Celery worker that starts tells what it knows to be revoked, and asks the same."""
    if arguments["from_node"] == view.name:
        done(None)
        return
    theirs = arguments["revoked"]
    if isinstance(theirs, dict) and theirs:
        view.order("revoke", {"task_id": list(theirs)}, keep=False)
    mine = {
        key.partition(":")[2]: [order.at, key.partition(":")[2]]
        for key, order in view.standing()
        if order.method == "revoke"
    }
    done({"revoked": mine, "clock": view.clock()})


def _commands(view: NodeView, arguments: Arguments, done: Done) -> None:
    done(view.fact("commands"))


def custom(name: str, kind: str, help: str, parameters: tuple[Parameter, ...]) -> Spec:  # noqa: A002 - the field's name
    """A command that the app defines. One process of a node answers what is asked; all do what they are told."""

    def run(view: NodeView, arguments: Arguments, done: Done) -> None:
        def answered(answers: list[ProcessAnswer]) -> None:
            said = [answer.value for answer in answers if isinstance(answer.value, dict)]
            failed = [value for value in said if "error" in value]
            if failed or not said:
                done(failed[0] if failed else {"error": f"no process answered {name} in time"})
            else:
                done(said[0].get("value"))

        if not view.processes():
            raise CommandFailed("no process runs that could do it")
        view.ask("custom", {"name": name, "arguments": dict(arguments)}, answered, one=kind == "inspect")

    return Spec(
        name=name, kind="inspect" if kind == "inspect" else "control", help=help, run=run, parameters=parameters
    )


def from_json(form: Mapping[str, Json]) -> Spec:
    """A command that the app defines, from what its definition says of it."""
    parameters = form["parameters"]
    assert isinstance(parameters, list), "as it was described"
    return custom(
        str(form["name"]),
        str(form["kind"]),
        str(form["help"]),
        tuple(_parameter(cast("Mapping[str, Json]", parameter)) for parameter in parameters),
    )


def _parameter(form: Mapping[str, Json]) -> Parameter:
    if form.get("required"):
        return Parameter(str(form["name"]), cast("Type", form["type"]))
    return Parameter(str(form["name"]), cast("Type", form["type"]), form.get("default"))


INSPECT = (
    Spec(name="ping", kind="inspect", help="Whether the nodes are there.", run=_ping),
    Spec(
        name="active",
        kind="inspect",
        help="What is executed now.",
        run=_listing("active"),
        parameters=(Parameter("safe", "flag", False),),
        aliases=("dump_active",),
    ),
    Spec(
        name="reserved",
        kind="inspect",
        help="What came and waits for a slot.",
        run=_listing("reserved"),
        aliases=("dump_reserved",),
    ),
    Spec(
        name="scheduled",
        kind="inspect",
        help="What came and waits for its time or its rate limit.",
        run=_listing("scheduled"),
        aliases=("dump_schedule",),
    ),
    Spec(name="revoked", kind="inspect", help="The ids that are revoked.", run=_revoked, aliases=("dump_revoked",)),
    Spec(
        name="registered",
        kind="inspect",
        help="The tasks that are registered.",
        run=_registered,
        parameters=(Parameter("taskinfoitems", "texts", []), Parameter("builtins", "flag", False)),
        aliases=("dump_tasks", "registered_tasks"),
    ),
    Spec(name="active_queues", kind="inspect", help="The queues that are consumed.", run=_active_queues),
    Spec(name="stats", kind="inspect", help="Numbers of the node.", run=_stats),
    Spec(
        name="conf",
        kind="inspect",
        help="The configuration, secrets masked.",
        run=_conf,
        parameters=(Parameter("with_defaults", "flag", False),),
        aliases=("dump_conf",),
    ),
    Spec(name="report", kind="inspect", help="Versions and settings, for a bug report.", run=_report),
    Spec(
        name="query_task",
        kind="inspect",
        help="Where tasks are, by id.",
        run=_query_task,
        parameters=(Parameter("ids", "texts"),),
    ),
    Spec(name="clock", kind="inspect", help="The logical clock.", run=_clock),
    Spec(name="processes", kind="inspect", help="Each process: state, task, memory, counters.", run=_processes),
    *MEMORY,
    Spec(name="orders", kind="inspect", help="What was set and holds.", run=_orders),
    Spec(name="commands", kind="inspect", help="The commands that the nodes know.", run=_commands),
    Spec(
        name="hello",
        kind="inspect",
        help="What a Celery worker asks when it starts.",
        run=_hello,
        parameters=(Parameter("from_node", "text", ""), Parameter("revoked", "any", None)),
    ),
)
