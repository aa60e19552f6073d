"""The app and its one task."""

from pathlib import Path

from amqtask import App
from examples.codestats.source import Stats, measure

app = App("codestats", config=Path(__file__).with_name("amqtask.yaml"))


@app.task(dead_letter=True, throws=[SyntaxError])
def count(path: str, *, package: str) -> Stats:
    """Count what is in one file; its package is the routing key (see `routes` in amqtask.yaml).

    A file that does not parse goes to the dead letters, with the error.
    """
    return measure(Path(path).read_bytes())
