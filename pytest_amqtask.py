"""The pytest plugin of amqtask: fixtures to test an app in milliseconds. docs/testing.md tells how.

It stands beside the package, so that test runs which do not use it load nothing of amqtask.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from amqtask.app import App
    from amqtask.testing.broker import AppBroker
    from amqtask.testing.worker import BackgroundWorker

VARIABLE = "AMQTASK_TEST_BROKER"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    group = parser.getgroup("amqtask", "amqtask")
    group.addoption(
        "--amqtask-broker",
        metavar="URL",
        default=os.environ.get(VARIABLE),
        help=f"run on this RabbitMQ instead of a broker in memory; its queues are emptied (also {VARIABLE})",
    )
    parser.addini("amqtask_app", "the app that amqtask_app is, as package.module:app")


@pytest.fixture
def amqtask_broker(request: pytest.FixtureRequest) -> Iterator[AppBroker]:
    """A broker in memory, of this test alone; or the RabbitMQ of --amqtask-broker."""
    from amqtask.testing.broker import open_broker

    with open_broker(request.config.getoption("--amqtask-broker"), pytest.skip) as broker:
        yield broker


@pytest.fixture
def amqtask_app(request: pytest.FixtureRequest, amqtask_broker: AppBroker) -> Iterator[App]:
    """The app of the setting `amqtask_app`, on `amqtask_broker`; where nothing is set, one without tasks."""
    from amqtask.testing.broker import app_named

    with amqtask_broker.using(app_named(request.config.getini("amqtask_app"))) as app:
        yield app


@pytest.fixture
def amqtask_worker(amqtask_app: App, amqtask_broker: AppBroker) -> Iterator[BackgroundWorker]:
    """A worker of `amqtask_app` in this process, with one thread for tasks."""
    with amqtask_broker.working(amqtask_app, concurrency=1) as worker:
        yield worker


@pytest.fixture
def amqtask_beat(amqtask_app: App, amqtask_broker: AppBroker) -> Iterator[None]:
    """The beat of `amqtask_app`: its periodic tasks come when `amqtask_broker.advance` passes their time."""
    with amqtask_broker.beating(amqtask_app):
        yield
