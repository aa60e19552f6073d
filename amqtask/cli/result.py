"""`amqtask result`: what became of a task."""

import json
from collections.abc import Iterator
from typing import Any

import click

from amqtask.cli.target import Target, target_options
from amqtask.core.state import (
    FAILED_STATES,
    PROGRESS,
    SUCCESS,
    UNKNOWN,
    TaskResult,
    progress_of,
    to_celery,
)
from amqtask.exits import FAILED
from amqtask.results.remote_error import error_of
from amqtask.results.waiting import unknown


@click.command()
@target_options
@click.argument("task_id", metavar="ID")
@click.option("-w", "--watch", is_flag=True, help="Show each state as it comes, until the task is over.")
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="With --watch: wait no longer.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object a state, in Celery's form.")
@click.pass_obj
def result(target: Target, /, task_id: str, watch: bool, timeout: float | None, as_json: bool) -> int:
    """Show the state and the result of the task ID.

    The result backend must be one that any process can ask: not rpc, whose results go to the sender only. The exit code
    is 1 if the task failed.
    """
    with target.load_any_app() as app:
        handle = app.AsyncResult(task_id)
        reports: Iterator[TaskResult] = handle.updates(timeout) if watch else iter([handle.report()])
        last: TaskResult | None = None
        for last in reports:
            if last.status == UNKNOWN:
                raise unknown(task_id)
            click.echo(json.dumps(to_celery(last), default=str, ensure_ascii=False) if as_json else _text(last))
    return FAILED if last is not None and last.status in FAILED_STATES else 0


def _text(report: TaskResult) -> str:
    lines = [f"{report.status:<9} {_said(report)}".rstrip()]
    facts: dict[str, Any] = {
        "task": report.name,
        "worker": report.worker,
        "queue": report.queue,
        "retries": report.retries or None,
        "done": None if report.date_done is None else report.date_done.isoformat(timespec="milliseconds"),
        "parent": report.parent_id,
        "root": report.root_id,
        "children": " ".join(child.id for child in report.children) or None,
    }
    lines += [f"  {name:<9}{value}" for name, value in facts.items() if value is not None]
    if report.traceback:
        lines.append(report.traceback.rstrip())
    return "\n".join(lines)


def _said(report: TaskResult) -> str:
    """What the report carries, on one line."""
    if report.status in FAILED_STATES:
        error = error_of(report)
        return f"{type(error).__name__}: {error}"
    progress = progress_of(report)
    if report.status == PROGRESS and progress is not None:
        share = f"{progress.current:g}" + ("" if progress.total is None else f"/{progress.total:g}")
        return f"{share} {progress.message}"
    if report.result is None and report.status != SUCCESS:
        return ""
    return json.dumps(report.result, default=str, ensure_ascii=False)
