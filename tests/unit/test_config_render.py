"""A configuration for people's eyes."""

from pathlib import Path

import pytest

from amqtask.config.render import mask, settings
from tests.support.config import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("amqp://u:pw@h:5672/v", "amqp://u:***@h:5672/v"),
        ("amqp://u:p@w@h/", "amqp://u:***@h/"),
        ("amqp://h/", "amqp://h/"),
        ("redis://:pw@h/0", "redis://:***@h/0"),
        ("postgresql://u:pw@h/db?sslpassword=x&a=b", "postgresql://u:***@h/db?sslpassword=***&a=b"),
        ("just a secret", "***"),
    ],
)
def test_a_secret_is_masked_and_the_rest_of_a_url_is_shown(secret: str, shown: str) -> None:
    assert mask(secret) == shown


def test_every_setting_is_shown_with_its_origin_and_no_secret(folder: Folder) -> None:
    loaded = folder.load(
        """
        broker:
          urls: ["amqp://u:hunter2@a/", "amqp://u:hunter2@b/"]
          management: http://u:hunter2@h:15672
        queues:
          a.b: {bind: ["amq.topic[x]"], message_ttl: 90s}
        control: {secret: hunter2}
        results: {url: "redis://:hunter2@h/", options: {password: hunter2, db: 3}}
        """
    )

    shown = {setting.name: setting for setting in settings(loaded)}

    assert not any("hunter2" in f"{setting.text} {setting.value}" for setting in shown.values())
    assert shown["broker.urls[1]"].text == "amqp://u:***@b/"
    assert str(shown["broker.urls[1]"].origin).endswith("amqtask.yaml:3")
    assert shown["control.secret"].text == "***"
    assert shown["results.options.db"].text == "3"
    assert shown['queues."a.b".message_ttl'].text == "90s"
    assert shown['queues."a.b".message_ttl'].value == 90.0
    assert shown["worker.shutdown_timeout"].text == "25s"
    assert str(shown["worker.shutdown_timeout"].origin) == "default"
    assert shown["worker.acks_late"].text == "true"
    assert shown["worker.time_limit"].text == "-"
    assert shown["imports"].text == "[]"


def test_what_is_shown_can_be_given_with_set(folder: Folder) -> None:
    first = folder.load("queues: {a.b: {max_length: 5}}")

    again = folder.load("", overrides=['queues."a.b".max_length=5'])

    assert [setting.name for setting in settings(first)] == [setting.name for setting in settings(again)]
