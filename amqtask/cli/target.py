"""What all commands work on: an app, a configuration file and overrides, given before or after the command's name."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from amqtask.app import App
    from amqtask.config.loaded import LoadedConfig
    from amqtask.worker.reader import Reader

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Target:
    """The options -A, -C and --set; `reader` reads a worker's configuration."""

    app: str | None = None
    config: str | None = None
    overrides: list[str] = field(default_factory=list)
    reader: "Reader | None" = None

    def load_app(self) -> "App":
        """The app of -A, with -C and --set applied.

        Raises:
            click.UsageError: there is no -A.
            AppNotFound: there is no such app.
            AppImportFailed: its module cannot be imported.
        """
        if self.app is None:
            raise click.UsageError("which app? Give it as -A package.module:app, or in AMQTASK_APP")
        from amqtask.imports import find_app

        app = find_app(self.app)
        if self.config is not None or self.overrides:
            app.configure(self.config, self.overrides)
        return app

    def load_any_app(self) -> "App":
        """The app of -A with its tasks, or one without tasks that has the configuration only."""
        if self.app is None:
            from amqtask.app import App

            app = App("amqtask")
            app.configure(self.config, self.overrides)
            return app
        app = self.load_app()
        app.load_tasks()
        return app

    def load_config(self) -> "LoadedConfig":
        """The configuration: the app's where there is -A, else that of -C, AMQTASK_CONFIG or ./amqtask.yaml.

        Raises:
            ConfigError: with all its mistakes.
        """
        from amqtask.config.load import load_config

        if self.app is not None:
            return self.load_app().loaded_config
        return load_config(self.config, overrides=self.overrides)


def _keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    target = context.ensure_object(Target)
    if parameter.name == "set_":
        target.overrides.extend(value)
    elif value is not None and context.get_parameter_source(parameter.name or "") is not None:
        setattr(target, str(parameter.name), value)


def target_options(command: Command) -> Command:
    """The options of Target, for the group and again for each command, so that they may stand on either side."""
    options = (
        click.option(
            "-A", "--app", metavar="MODULE:APP", expose_value=False, callback=_keep, help="The app; also AMQTASK_APP."
        ),
        click.option(
            "-C",
            "--config",
            metavar="FILE",
            expose_value=False,
            callback=_keep,
            help="The configuration; also AMQTASK_CONFIG, else ./amqtask.yaml.",
        ),
        click.option(
            "--set",
            "set_",
            metavar="KEY=VALUE",
            multiple=True,
            expose_value=False,
            callback=_keep,
            help="Override a setting, as in worker.concurrency=4.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command
