"""`amqtask status`: a table of the nodes."""

import json
from datetime import timedelta
from typing import Any

import click

from amqtask.cli.fleet import aim_options, narrow
from amqtask.cli.target import Target, target_options
from amqtask.exits import UNAVAILABLE

HEADINGS = (
    "node",
    "state",
    "processes",
    "active",
    "reserved",
    "processed",
    "rate/s",
    "load",
    "uptime",
    "version",
    "queues",
)


@click.command()
@target_options
@aim_options
@click.pass_obj
def status(
    target: Target,
    /,
    destination: str | None,
    pattern: str | None,
    timeout: float | None,
    expect: int | None,
    as_json: bool,
) -> int:
    """Show the nodes: processes, what they execute and executed, load, uptime, version and queues."""
    with target.load_any_app() as app:
        nodes = narrow(app.control, destination, pattern, timeout, expect)
        stats = nodes.call("stats")
        # As many as answered the first question are waited for now.
        again = narrow(app.control, destination, pattern, timeout, len(stats) or expect)
        queues = again.call("active_queues") if stats else {}
    if not stats:
        click.echo("no node answered: none listens on this broker, or --timeout was too short", err=True)
        return UNAVAILABLE
    rows = [row(node, stats[node], queues.get(node) or []) for node in sorted(stats)]
    if as_json:
        click.echo(json.dumps([dict(zip(HEADINGS, values, strict=True)) for values in rows]))
        return 0
    table = [HEADINGS, *rows]
    widths = [max(len(str(line[column])) for line in table) for column in range(len(HEADINGS))]
    for line in table:
        click.echo("  ".join(f"{value!s:<{width}}" for value, width in zip(line, widths, strict=True)).rstrip())
    click.echo(f"{len(rows)} {'node' if len(rows) == 1 else 'nodes'}")
    return 0


def row(node: str, stats: Any, queues: list[Any]) -> tuple[object, ...]:
    """One node's line. Of a Celery worker only what it tells is there."""
    if not isinstance(stats, dict) or "error" in stats:
        return (node, "error", *["-"] * (len(HEADINGS) - 2))
    uptime = int(stats.get("uptime") or 0)
    total = stats.get("total")
    processed = stats.get("processed", sum(total.values()) if isinstance(total, dict) else 0)
    load = stats.get("loadavg")
    names = [
        queue["name"] + (" (paused)" if queue.get("paused") else "") for queue in queues if isinstance(queue, dict)
    ]
    pool = stats.get("pool") or {}
    return (
        node,
        "online",
        len(pool.get("processes") or []) or pool.get("max-concurrency", "-"),
        stats.get("active", "-"),
        stats.get("reserved", "-"),
        processed,
        f"{processed / uptime:.1f}" if uptime else "-",
        load[0] if load else "-",
        str(timedelta(seconds=uptime)),
        stats.get("version", "-"),
        ",".join(names) or "-",
    )
