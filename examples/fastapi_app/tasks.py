"""The tasks: `amqtask worker -A examples.fastapi_app.tasks:app`."""

import os

from amqtask import App

app = App(
    "fastapi_app",
    config={
        "broker": {"url": os.environ.get("AMQTASK_BROKER_URL", "amqp://localhost/")},
        "queues": {"sums": {}},
        "tasks": {"default_queue": "sums"},
    },
)


@app.task
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.task
def total(numbers: list[int]) -> int:
    """Add many numbers."""
    return sum(numbers)
