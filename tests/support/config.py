"""Configurations for tests: text in a file, and the mistakes that loading finds in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from amqtask.config.load import LoadedConfig, load_config
from amqtask.errors import ConfigError, Problem


class Folder:
    """A folder of configuration files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str, name: str = "amqtask.yaml") -> Path:
        """Write a file; the text may be indented."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
        return file

    def load(self, text: str, *, env: Mapping[str, str] | None = None, overrides: Sequence[str] = ()) -> LoadedConfig:
        """Load a text as the main file."""
        return load_config(self.write(text), env=env or {}, overrides=overrides)

    def problems(
        self, text: str, *, env: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
    ) -> list[Problem]:
        """The mistakes of a text."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, env=env, overrides=overrides)
        return list(caught.value.problems)

    def complaints(
        self, text: str, *, env: Mapping[str, str] | None = None, overrides: Sequence[str] = ()
    ) -> list[str]:
        """The mistakes of a text as `line:column message (hint)`."""
        return [short(problem) for problem in self.problems(text, env=env, overrides=overrides)]


def short(problem: Problem) -> str:
    """A mistake without its file."""
    place = f"{problem.line}:{problem.column} " if problem.line is not None else ""
    return f"{place}{problem.message}" + (f" ({problem.hint})" if problem.hint else "")
