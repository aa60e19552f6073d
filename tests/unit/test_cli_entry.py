"""Which command a command line is for, before it is parsed."""

import click
import pytest

from amqtask.cli.entry import VALUED, command_of
from amqtask.cli.main import amqtask


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("worker", "worker"),
        ("worker call", "worker"),
        ("-A worker call", "call"),
        ("-A x:app --set a=b worker -Q q", "worker"),
        ("--app=worker --config c.yaml worker", "worker"),
        ("--help", None),
        ("-A", None),
        ("", None),
    ],
)
def test_the_command_is_the_first_word_that_is_no_option_nor_its_value(line: str, command: str | None) -> None:
    assert command_of(line.split()) == command


def test_the_options_that_take_a_value_are_those_of_the_program() -> None:
    taking = [option for option in amqtask.params if isinstance(option, click.Option) and not option.is_flag]

    assert sorted(VALUED) == sorted(name for option in taking for name in (*option.opts, *option.secondary_opts))
