"""What the commands that talk to nodes share: which nodes, how long, and how answers are shown."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from amqtask.control.client import Control
from amqtask.control.commands import Parameter, Spec
from amqtask.control.mailbox import Answers
from amqtask.core.message import Json
from amqtask.exits import FAILED, UNAVAILABLE

Command = TypeVar("Command", bound=Callable[..., Any])


def aim_options(command: Command) -> Command:
    """--destination, --pattern, --timeout, -n and --json."""
    options = (
        click.option("-d", "--destination", metavar="A,B", help="These nodes only."),
        click.option("--pattern", metavar="GLOB", help="Nodes whose name fits, as web*."),
        click.option("-t", "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer."),
        click.option("-n", "--expect", type=click.IntRange(min=1), metavar="N", help="Return when so many answered."),
        click.option("--json", "as_json", is_flag=True, help="One JSON object: the answers by node."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def narrow(
    control: Control[Answers], destination: str | None, pattern: str | None, timeout: float | None, expect: int | None
) -> Control[Answers]:
    """The control of those nodes that the options name."""
    names = tuple(name.strip() for name in (destination or "").split(",") if name.strip())
    return control.to(*names, pattern=pattern, timeout=timeout, limit=expect)


def named_arguments(spec: Spec, words: Sequence[str]) -> dict[str, Json]:
    """The words of a command line as a command's arguments: in the order of its parameters, or `name=value`.

    Raises:
        click.UsageError: too many words.
    """
    given: dict[str, Json] = {}
    left = [parameter for parameter in spec.parameters if parameter.type != "any"]
    names = {parameter.name: parameter for parameter in spec.parameters}
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in names:
            given[name] = value
            left = [parameter for parameter in left if parameter.name != name]
            continue
        if not left:
            shown = " ".join(_usage(parameter) for parameter in spec.parameters)
            raise click.UsageError(f"{word!r} is one word too many; {spec.name} {shown}")
        parameter = left[0]
        if parameter.type == "texts":
            given[parameter.name] = [*_list(given.get(parameter.name)), word]
        elif parameter.type == "object":
            if not equals:
                raise click.UsageError(f"{word!r} is not name=value")
            given[parameter.name] = {**_object(given.get(parameter.name)), name: value}
        else:
            given[parameter.name] = word
            left = left[1:]
    return given


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _usage(parameter: Parameter) -> str:
    name = parameter.name.upper() + ("…" if parameter.type == "texts" else "")
    return name if parameter.is_required else f"[{name}]"


def usage(spec: Spec) -> str:
    """A command and its parameters."""
    return " ".join([spec.name, *(_usage(p) for p in spec.parameters if p.type != "any")])


def show(answers: Answers, *, as_json: bool) -> int:
    """Show what nodes answered; the exit code: 69 where none did, 1 where one could not."""
    if as_json:
        click.echo(json.dumps(answers, ensure_ascii=False, default=str))
    else:
        for node in sorted(answers):
            for line in _lines(node, answers[node]):
                click.echo(line)
    if not answers:
        click.echo("no node answered: none listens on this broker, or --timeout was too short", err=True)
        return UNAVAILABLE
    failed = any(isinstance(value, dict) and "error" in value for value in answers.values())
    return FAILED if failed else 0


def _lines(node: str, value: Any) -> list[str]:
    if isinstance(value, dict) and len(value) == 1 and "ok" in value and "\n" not in str(value["ok"]):
        return [f"{node}: {value['ok']}"]
    if isinstance(value, dict) and "error" in value:
        return [f"{node}: error: {value['error']}"]
    if value in ([], {}, None):
        return [f"{node}: nothing" if value is not None else f"{node}: done"]
    if isinstance(value, dict) and set(value) == {"ok"}:
        return [f"{node}:", *(f"  {line}" for line in str(value["ok"]).splitlines())]
    if isinstance(value, list):
        return [f"{node}:", *(f"  {_item(item)}" for item in value)]
    if isinstance(value, dict):
        return [f"{node}:", *(f"  {name}: {_short(item)}" for name, item in value.items())]
    first, *more = str(value).splitlines() or [""]
    return [f"{node}:", f"  {first}", *(f"  {line}" for line in more)] if more else [f"{node}: {first}"]


def _item(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    if "request" in item:
        return f"{_item(item['request'])}  {'limited' if item.get('limited') else item.get('eta')}"
    if "id" in item and "args" in item:
        pid = f"  pid {item['worker_pid']}" if item.get("worker_pid") else ""
        return f"{item['name']}[{item['id']}] args={_short(item['args'])} kwargs={_short(item['kwargs'])}{pid}"
    if "pid" in item:
        running = ", ".join(f"{run['name']}[{run['id']}] for {run['for']:.1f} s" for run in item["running"])
        memory = f"{item['memory'] / 2**20:.0f} MiB" if item["memory"] else "-"
        return f"{item['pid']}  {item['state']:<8} {memory:>8}  {item['processed']} done  {running}".rstrip()
    if "routing_key" in item:
        exchange = item["exchange"]["name"] or "(default)"
        return f"{item['name']}  {exchange}[{item['routing_key']}]{'  paused' if item.get('paused') else ''}"
    return _short(item)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
