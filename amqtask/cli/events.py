"""`amqtask events`: what nodes and tasks tell, as it comes."""

import json
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

import click

from amqtask.cli.target import Target, target_options

COMMON = ("type", "hostname", "timestamp", "pid", "clock", "utcoffset", "local_received")


@click.command()
@target_options
@click.option("--dump", is_flag=True, help="Write each event on a line; the default.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
@click.option("--filter", "wanted", multiple=True, metavar="TYPE", help="These types only, as task-* or worker-online.")
@click.option("--enable", is_flag=True, help="Have the nodes send events of tasks first.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after so many.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="End when none came for so long.")
@click.pass_obj
def events(
    target: Target,
    /,
    dump: bool,
    as_json: bool,
    wanted: tuple[str, ...],
    enable: bool,
    limit: int | None,
    timeout: float | None,
) -> int:
    """Show events as they come, until Ctrl-C. Nodes send those of tasks when started with -E, or told by --enable."""
    shown = 0
    with target.load_any_app() as app, app.events.receiver() as receiver:
        if enable:
            app.control.enable_events()
        while limit is None or shown < limit:
            event = receiver.next(timeout)
            if event is None:
                break
            if wanted and not any(fnmatchcase(event["type"], pattern) for pattern in wanted):
                continue
            shown += 1
            click.echo(json.dumps(event, ensure_ascii=False) if as_json else text(event))
    return 0


def text(event: dict[str, Any]) -> str:
    """An event on one line."""
    at = datetime.fromtimestamp(event.get("timestamp") or 0).astimezone().strftime("%H:%M:%S.%f")[:-3]
    fields = {name: value for name, value in event.items() if name not in COMMON and value is not None}
    fields.pop("traceback", None)
    words = " ".join(f"{name}={value}" for name, value in fields.items())
    return f"{at} {event['type']:<17} {event.get('hostname', '?')}  {words}".replace("\n", " ")
