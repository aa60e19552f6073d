"""A configuration that was read: what it says, and where each of its values came from. Without pydantic and YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amqtask.config.tree import DEFAULT, Node, Origin, Path
from amqtask.core.routing import Router
from amqtask.errors import Problem

if TYPE_CHECKING:
    from amqtask.config.model import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A configuration and where each of its values came from.

    `tree` is what was given, without defaults; `origins` are the places of its values. `router` is made of its objects
    and routes. `file` is the main file, None where there is none. `warnings` are no mistakes, but worth a look.
    """

    config: "Config"
    tree: Node = field(repr=False)
    origins: Mapping[Path, Origin]
    router: Router = field(repr=False)
    file: str | None = None
    warnings: tuple[Problem, ...] = ()

    def origin(self, path: Path) -> Origin:
        """Where the value of this path came from."""
        # A short form, "tasks[hi.#]", is where all that it stands for came from.
        for length in range(len(path), 0, -1):
            if (found := self.origins.get(path[:length])) is not None:
                return found
        return DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: its path, its value as JSON has it, as text, and where it came from."""

    path: Path
    value: object
    text: str
    origin: Origin

    @property
    def name(self) -> str:
        """`queues.hi.max_length`, `routes[0].task`."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in self.path)
        return text.removeprefix(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A configuration that another process read.

    `settings` are all of them, for people's eyes, without secrets. `version` is amqtask's; `about` are lines on what it
    runs on.
    """

    loaded: LoadedConfig
    settings: tuple[Setting, ...]
    version: str
    about: tuple[str, ...]


def _quoted(part: str) -> str:
    return f'"{part}"' if "." in part else part
