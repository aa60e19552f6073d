"""An app with a health port: `amqtask worker -A examples.health_port.tasks:app -c 2`, then `curl localhost:8080`."""

import os
import time

from amqtask import App
from examples.health_port.health import HealthPort

app = App(
    "health_port",
    config={
        "broker": {"url": os.environ.get("AMQTASK_BROKER_URL", "amqp://localhost/")},
        "queues": {"naps": {}},
        "tasks": {"default_queue": "naps"},
    },
)
app.components.append(HealthPort(int(os.environ.get("HEALTH_PORT", "8080"))))


@app.task
def nap(seconds: float) -> None:
    """Do nothing for a while, to be seen at the port."""
    time.sleep(seconds)
