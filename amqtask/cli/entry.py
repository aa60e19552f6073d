"""The program `amqtask`. A worker's configuration is read by a process that is forked before all else is loaded."""

import sys
from collections.abc import Sequence

VALUED = ("-A", "--app", "-C", "--config", "--set")
"""The options before the command's name that are followed by a value."""


def main() -> None:
    """The console script."""
    reader = None
    if command_of(sys.argv[1:]) == "worker":
        from amqtask.worker.reader import Reader

        reader = Reader.start()
    from amqtask.cli.main import run

    sys.exit(run(reader=reader))


def command_of(arguments: Sequence[str]) -> str | None:
    """The name of the command in a command line."""
    words = iter(arguments)
    for word in words:
        if word in VALUED:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None
