"""Fixtures of the tests that run the real command line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.program import Scratch

CONFIG = """
    exchanges:
      tasks: {type: topic}
    queues:
      hi: {bind: ["tasks[hi.#]"]}
      lo: {bind: ["tasks[lo.#]"]}
    routes:
      - {task: "tasks.hi_*", exchange: tasks, key: "hi.{task}"}
      - {task: "*", exchange: tasks, key: "lo.{task}"}
    tasks:
      default_retry_delay: 1s
    """


@pytest.fixture
def scratch(tmp_path: Path, vhost: str) -> Callable[..., Scratch]:
    """Makes a scratch folder with tasks, on a virtual host of its own."""

    def make(tasks: str, config: str = CONFIG, url: str = vhost) -> Scratch:
        return Scratch(tmp_path, url, config, tasks)

    return make
