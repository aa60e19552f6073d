"""The commands that change something: Celery's names, arguments and answers, and `pause`, `resume`, `forget`."""

import signal

from amqtask.control.commands import Arguments, CommandFailed, Done, NodeView, Parameter, ProcessAnswer, Spec
from amqtask.core.finding import nearest
from amqtask.core.message import Json
from amqtask.core.standing import texts

KILLED = ("processes", "solo")
"""The pools in which a task can be ended by killing its process."""


def _order(view: NodeView, method: str, arguments: Arguments, *, always: bool = False) -> None:
    """Have it hold; `persist` was for us."""
    given = {name: value for name, value in arguments.items() if name != "persist"}
    view.order(method, given, keep=always or bool(arguments.get("persist")))


def _revoke(view: NodeView, arguments: Arguments, done: Done) -> None:
    ids = texts(arguments["task_id"])
    _order(view, "revoke", {"task_id": list(ids)}, always=True)
    if arguments["terminate"]:
        _terminate(view, arguments, done)
        return
    done({"ok": f"tasks {', '.join(ids)} flagged as revoked"})


def _terminate(view: NodeView, arguments: Arguments, done: Done) -> None:
    ids = texts(arguments["task_id"])
    name = _signal(arguments["signal"])

    def answered(answers: list[ProcessAnswer]) -> None:
        ended = [text for answer in answers for text in texts(answer.value)]
        done({"ok": f"terminate: {', '.join(ended) if ended else 'tasks unknown'}"})

    view.order("revoke", {"task_id": list(ids)}, keep=True)
    view.ask("terminate", {"ids": list(ids), "signal": name}, answered)


def _revoke_root(view: NodeView, arguments: Arguments, done: Done) -> None:
    roots = texts(arguments["root_id"])
    _order(view, "revoke_root", {"root_id": list(roots)}, always=True)
    if not arguments["terminate"]:
        done({"ok": f"workflows {', '.join(roots)} flagged as revoked"})
        return

    def answered(answers: list[ProcessAnswer]) -> None:
        ended = [text for answer in answers for text in texts(answer.value)]
        done({"ok": f"workflows {', '.join(roots)} flagged as revoked; ended: {', '.join(ended) or 'nothing'}"})

    view.ask("terminate", {"roots": list(roots), "signal": _signal(arguments["signal"])}, answered)


def _signal(value: Json) -> str:
    text = str(value).upper()
    if text.isdigit():
        try:
            return signal.Signals(int(text)).name
        except ValueError:
            raise CommandFailed(f"there is no signal {text}") from None
    name = text if text.startswith("SIG") else f"SIG{text}"
    if name not in signal.Signals.__members__:
        raise CommandFailed(f"there is no signal {value!r}; {nearest(name, signal.Signals.__members__)}")
    return name


def _revoke_by_stamped_headers(view: NodeView, arguments: Arguments, done: Done) -> None:
    headers = arguments["headers"]
    if not isinstance(headers, dict) or not headers:
        raise CommandFailed("revoke_by_stamped_headers: headers is an object of names and values")
    _order(view, "revoke_by_stamped_headers", {"headers": headers}, always=True)
    if not arguments["terminate"]:
        done({"ok": f"headers {headers} flagged as revoked, but not terminated"})
        return

    def answered(answers: list[ProcessAnswer]) -> None:
        ended = [text for answer in answers for text in texts(answer.value)]
        done({"ok": f"headers {headers} revoked" if ended else f"headers {headers} were not terminated"})

    view.ask("terminate", {"headers": headers, "signal": _signal(arguments["signal"])}, answered)


def _known(view: NodeView, name: Json) -> None:
    if name not in view.tasks():
        raise CommandFailed(f"unknown task {name!r}; {nearest(str(name), view.tasks())}")


def _rate_limit(view: NodeView, arguments: Arguments, done: Done) -> None:
    _known(view, arguments["task_name"])
    _order(view, "rate_limit", arguments)
    off = str(arguments["rate_limit"]).strip().split("/")[0] in ("", "0", "0.0")
    done({"ok": "rate limit disabled successfully" if off else "new rate limit set successfully"})


def _time_limit(view: NodeView, arguments: Arguments, done: Done) -> None:
    _known(view, arguments["task_name"])
    pool = view.fact("pool")
    if arguments["hard"] is not None and pool not in KILLED:
        raise CommandFailed(
            f"a hard limit ends a process, and the tasks of pool {pool} share one; set a soft limit only"
        )
    _order(view, "time_limit", arguments)
    done({"ok": "time limits set successfully"})


def _add_consumer(view: NodeView, arguments: Arguments, done: Done) -> None:
    queue = arguments["queue"]

    def ready(wrong: str | None) -> None:
        if wrong is not None:
            done({"error": wrong})
            return
        _order(view, "add_consumer", arguments)
        done({"ok": f"add consumer {queue}"})

    view.consume(arguments, ready)


def _cancel_consumer(view: NodeView, arguments: Arguments, done: Done) -> None:
    if arguments["queue"] not in view.queues():
        raise CommandFailed(
            f"{arguments['queue']!r} is not consumed here; {nearest(str(arguments['queue']), view.queues())}"
        )
    _order(view, "cancel_consumer", arguments)
    done({"ok": f"no longer consuming from {arguments['queue']}"})


def _pause(view: NodeView, arguments: Arguments, done: Done) -> None:
    _order(view, "pause", arguments, always=True)
    consumed = arguments["queue"] in view.queues()
    done({"ok": f"{arguments['queue']} is paused" + ("" if consumed else " (it is not consumed here)")})


def _resume(view: NodeView, arguments: Arguments, done: Done) -> None:
    _order(view, "resume", arguments, always=True)
    done({"ok": f"{arguments['queue']} is resumed"})


def _events(method: str) -> Spec:
    word = method.partition("_")[0]

    def run(view: NodeView, arguments: Arguments, done: Done) -> None:
        last = next((order.method for key, order in view.standing() if key == "events"), None)
        on = last == "enable_events" if last is not None else bool(view.fact("events"))
        if on == (word == "enable"):
            done({"ok": f"task events already {word}d"})
            return
        _order(view, method, arguments)
        done({"ok": f"task events {word}d"})

    return Spec(name=method, kind="control", help=f"{word.capitalize()} events of tasks.", run=run, lasting=True)


def _act(name: str, help: str, *parameters: Parameter) -> Spec:  # noqa: A002 - the field's name
    def run(view: NodeView, arguments: Arguments, done: Done) -> None:
        said = view.act(name, arguments)
        done({"ok": said} if said else None)

    return Spec(name=name, kind="control", help=help, run=run, parameters=parameters)


def _forget(view: NodeView, arguments: Arguments, done: Done) -> None:
    key = str(arguments["key"])
    if not view.forget(key):
        raise CommandFailed(f"nothing is set under {key!r}; {nearest(key, [key for key, _ in view.standing()])}")
    done({"ok": f"{key} is forgotten"})


def _election(view: NodeView, arguments: Arguments, done: Done) -> None:
    raise CommandFailed(
        "these nodes hold no elections: where one of many must act, RabbitMQ chooses it (beat's leader)"
    )


_TERMINATE = (Parameter("terminate", "flag", False), Parameter("signal", "text", "SIGTERM"))

CONTROL = (
    Spec(
        name="revoke",
        kind="control",
        help="Have tasks not started; with terminate, end those that run.",
        run=_revoke,
        parameters=(Parameter("task_id", "texts"), *_TERMINATE),
        lasting=True,
    ),
    Spec(
        name="terminate",
        kind="control",
        help="End tasks that run, with a signal.",
        run=_terminate,
        parameters=(Parameter("signal"), Parameter("task_id", "texts")),
    ),
    Spec(
        name="revoke_root",
        kind="control",
        help="Have no more steps of workflows started; with terminate, end those that run.",
        run=_revoke_root,
        parameters=(Parameter("root_id", "texts"), *_TERMINATE),
        lasting=True,
    ),
    Spec(
        name="revoke_by_stamped_headers",
        kind="control",
        help="Revoke the tasks that carry these stamps.",
        run=_revoke_by_stamped_headers,
        parameters=(Parameter("headers", "object"), *_TERMINATE),
        lasting=True,
    ),
    Spec(
        name="rate_limit",
        kind="control",
        help="The most starts of a task in each node: 10/s, 200/m, 5/h; 0 for no limit.",
        run=_rate_limit,
        parameters=(Parameter("task_name"), Parameter("rate_limit", "rate")),
        lasting=True,
    ),
    Spec(
        name="time_limit",
        kind="control",
        help="A task's soft and hard limit, in seconds.",
        run=_time_limit,
        parameters=(Parameter("task_name"), Parameter("soft", "seconds", None), Parameter("hard", "seconds", None)),
        lasting=True,
    ),
    Spec(
        name="add_consumer",
        kind="control",
        help="Consume one more queue.",
        run=_add_consumer,
        parameters=(
            Parameter("queue"),
            Parameter("exchange", "text", None),
            Parameter("exchange_type", "text", "direct"),
            Parameter("routing_key", "text", None),
        ),
        lasting=True,
        open=True,
    ),
    Spec(
        name="cancel_consumer",
        kind="control",
        help="Consume a queue no more.",
        run=_cancel_consumer,
        parameters=(Parameter("queue"),),
        lasting=True,
    ),
    Spec(
        name="pause",
        kind="control",
        help="Take nothing from a queue until it is resumed.",
        run=_pause,
        parameters=(Parameter("queue"),),
        lasting=True,
    ),
    Spec(
        name="resume",
        kind="control",
        help="Take from a paused queue again.",
        run=_resume,
        parameters=(Parameter("queue"),),
        lasting=True,
    ),
    _act("pool_grow", "Start more processes.", Parameter("n", "integer", 1)),
    _act("pool_shrink", "Stop some processes, each when it is done.", Parameter("n", "integer", 1)),
    _act(
        "pool_restart",
        "Replace all processes, each when it is done.",
        Parameter("modules", "any", None),
        Parameter("reload", "flag", False),
        Parameter("reloader", "any", None),
    ),
    _act(
        "autoscale",
        "Keep the number of processes between min and max.",
        Parameter("max", "integer"),
        Parameter("min", "integer", 0),
    ),
    _events("enable_events"),
    _events("disable_events"),
    _act("heartbeat", "Send a sign of life now."),
    _act("shutdown", "Finish what runs, and end.", Parameter("msg", "any", None)),
    Spec(
        name="election",
        kind="control",
        help="Celery's election of a worker; not held here.",
        run=_election,
        parameters=(Parameter("id", "text", None), Parameter("topic", "text", None), Parameter("action", "any", None)),
    ),
    Spec(
        name="forget",
        kind="control",
        help="Take away what was set under a key of `orders`.",
        run=_forget,
        parameters=(Parameter("key"),),
    ),
)
