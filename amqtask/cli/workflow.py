"""`amqtask workflow`: look at chains, groups and chords, and cancel them."""

import json

import click

from amqtask.cli import fleet
from amqtask.cli.target import Target, target_options
from amqtask.core.workflow_view import MOST_SHOWN, as_json, as_mermaid, as_text, headline
from amqtask.exits import FAILED
from amqtask.workflowlog import KEEP
from amqtask.workflowreader import read_workflow


@click.group()
def workflow() -> None:
    """Look at chains, groups and chords, by the id of their root."""


@workflow.command()
@target_options
@click.argument("root_id")
@click.option("--mermaid", is_flag=True, help="A Mermaid flowchart.")
@click.option("--json", "as_json_", is_flag=True, help="The tree as a JSON object.")
@click.option("--all", "everything", is_flag=True, help="All members of large groups.")
@click.pass_obj
def show(target: Target, /, root_id: str, mermaid: bool, as_json_: bool, everything: bool) -> int:
    """Show the tree of the workflow ROOT_ID, with the states and times (UTC) of its steps.

    ROOT_ID is the id of a chain's first task, of a group, or of a chord's header; each task knows it as
    `self.request.root_id`.
    """
    if mermaid and as_json_:
        raise click.UsageError("--mermaid and --json exclude each other")
    with target.load_any_app() as app:
        nodes = read_workflow(app.session_options, app.publisher, root_id, app.config.publish.timeout)
    if not nodes:
        click.echo(
            f"error: nothing is recorded of a workflow with the root {root_id}: it is no chain, group or chord that"
            f" amqtask sent in the last {KEEP // 3600} hours, or workflows.record is off",
            err=True,
        )
        return FAILED
    most = 10**9 if everything else MOST_SHOWN
    if as_json_:
        click.echo(json.dumps(as_json(root_id, nodes), ensure_ascii=False))
        return 0
    if not mermaid:
        click.echo(f"{root_id}: {headline(nodes)}")
    for line in as_mermaid(nodes, most=most) if mermaid else as_text(nodes, most=most):
        click.echo(line)
    return 0


@workflow.command()
@target_options
@click.argument("root_ids", metavar="ROOT_ID…", nargs=-1, required=True)
@click.option("--terminate", is_flag=True, help="End steps that run, too.")
@click.option("--signal", default="SIGTERM", metavar="NAME", help="With --terminate: with this signal.")
@click.option("-t", "--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer.")
@click.option("--json", "as_json_", is_flag=True, help="One JSON object: the answers by node.")
@click.pass_obj
def cancel(
    target: Target,
    /,
    root_ids: tuple[str, ...],
    terminate: bool,
    signal: str,
    timeout: float | None,
    as_json_: bool,
) -> int:
    """Have no more steps of these workflows started.

    What has not started is REVOKED when its turn comes; a chord that so never completes gives its errbacks one
    ChordError. Nodes that start later know of it, for seven days.
    """
    with target.load_any_app() as app:
        nodes = app.control.to(timeout=timeout)
        answers = nodes.revoke_root(*root_ids, terminate=terminate, signal=signal, reply=True)
        return fleet.show(answers, as_json=as_json_)
