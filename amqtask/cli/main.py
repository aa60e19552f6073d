"""`amqtask`: the table of commands, the options that all of them share, and how errors end the program."""

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from amqtask.cli.target import Target, target_options
from amqtask.embedded import embed_nothing
from amqtask.errors import (
    AmqtaskError,
    AppImportFailed,
    AuthenticationFailed,
    ConfigError,
    ConnectionFailed,
    VhostUnavailable,
)
from amqtask.exits import FAILED, exit_code

if TYPE_CHECKING:
    from amqtask.worker.reader import Reader

# Name: where the command is, and its line in the help. A command's module is loaded when it is called.
COMMANDS: dict[str, tuple[str, str]] = {
    "beat": ("amqtask.cli.beat:beat", "Send periodic tasks; list and edit them."),
    "call": ("amqtask.cli.call:call", "Publish one task message."),
    "config": ("amqtask.cli.config:config", "Check and show the configuration."),
    "multi": ("amqtask.cli.multi:multi", "Run several nodes on this machine, in the background."),
    "delayed": ("amqtask.cli.delayed:delayed", "Show what waits for its time."),
    "dev": ("amqtask.cli.dev:dev", "Run a broker and a worker for development."),
    "dlq": ("amqtask.cli.dlq:dlq", "Look at dead letters, send them again, throw them away."),
    "control": ("amqtask.cli.control:control", "Change what nodes do."),
    "events": ("amqtask.cli.events:events", "Show events of nodes and tasks."),
    "inspect": ("amqtask.cli.inspect:inspect", "Ask nodes what they do."),
    "purge": ("amqtask.cli.purge:purge", "Throw away what waits in queues."),
    "queues": ("amqtask.cli.queues:queues", "Show how full queues are."),
    "result": ("amqtask.cli.result:result", "Show what became of a task."),
    "routes": ("amqtask.cli.routes:routes", "Explain where tasks go."),
    "status": ("amqtask.cli.status:status", "Show the nodes."),
    "top": ("amqtask.cli.top:top", "Watch nodes, queues and tasks live."),
    "topology": ("amqtask.cli.topology:topology", "Check, declare and show exchanges, queues and bindings."),
    "workflow": ("amqtask.cli.workflow:workflow", "Look at chains, groups and chords; cancel them."),
    "worker": ("amqtask.cli.worker:worker", "Consume queues and run tasks."),
}

_EXIT_CODES = """\b
Exit codes: 0 done; 1 the operation failed; 2 wrong usage; 66 no such app;
69 no broker; 70 the app cannot be imported; 75 outcome unknown, try again;
77 login or permission refused; 78 wrong configuration."""

_START_ONE = (
    "start a broker with `docker run -d -p 5672:5672 rabbitmq:4` or, for development, `amqtask dev`; or name one in"
    " broker.url or in AMQTASK_BROKER_URL"
)


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, epilog=_EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@target_options
@click.version_option(package_name="amqtask", message="amqtask %(version)s")
@click.pass_context
def amqtask(context: click.Context) -> None:
    """Tasks over RabbitMQ: topology in YAML, tasks by routing key."""
    target = context.ensure_object(Target)
    target.app = target.app or os.environ.get("AMQTASK_APP")


def run(arguments: Sequence[str] | None = None, reader: "Reader | None" = None) -> int:
    """Run a command line; its exit code. `reader` is at work already, for a worker."""
    embed_nothing()
    try:
        result: Any = amqtask.main(
            args=arguments, prog_name="amqtask", standalone_mode=False, obj=Target(reader=reader)
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("aborted", err=True)
        return FAILED
    except AmqtaskError as error:
        show_error(error)
        return exit_code(error)
    except BrokenPipeError:
        # The reader, `head` for one, has seen enough. Python would complain again when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return result if isinstance(result, int) else 0


def show_error(error: AmqtaskError) -> None:
    """Write an error for people, on standard error."""
    if isinstance(error, ConfigError):
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        if len(error.problems) > 1:
            click.echo(f"{len(error.problems)} mistakes in the configuration", err=True)
        return
    click.echo(f"error: {error}", err=True)
    if isinstance(error, AppImportFailed) and error.__cause__ is not None:
        click.echo("".join(traceback.format_exception(error.__cause__)).rstrip(), err=True)
    elif isinstance(error, ConnectionFailed) and not isinstance(error, (AuthenticationFailed, VhostUnavailable)):
        click.echo(_START_ONE, err=True)
