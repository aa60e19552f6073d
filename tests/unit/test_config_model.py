"""What the sections mean together, and the broker's addresses."""

import pytest

from amqtask.config.load import load_mapping
from amqtask.config.model import Config
from amqtask.core.address import EMBEDDED_VARIABLE, Tls
from amqtask.errors import ConfigError


def complaint(mapping: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_mapping(mapping)
    return str(caught.value)


def test_without_a_url_the_broker_is_on_this_machine() -> None:
    (address,) = Config().broker.addresses()

    assert (address.host, address.port, address.user, address.vhost) == ("localhost", 5672, "guest", "/")
    assert address.heartbeat == 15


def test_each_url_is_an_address_with_the_sections_options() -> None:
    broker = load_mapping(
        {"broker": {"urls": ["amqp://a/v", "amqps://u:p@b:1/"], "heartbeat": "1.5s", "tls": {"ca_file": "ca.pem"}}}
    ).config.broker

    first, second = broker.addresses()

    assert (first.host, first.vhost, first.tls, first.heartbeat) == ("a", "v", None, 2)
    assert (second.host, second.port, second.user, second.password) == ("b", 1, "u", "p")
    assert second.tls == Tls(ca_file="ca.pem")


def test_the_embedded_broker_is_a_reserved_url(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = load_mapping({"broker": {"url": "embedded:"}}).config.broker

    monkeypatch.delenv(EMBEDDED_VARIABLE, raising=False)

    assert broker.embedded
    with pytest.raises(ConfigError, match=r"this is another program .*AMQTASK_BROKER_URL"):
        broker.addresses()

    monkeypatch.setenv(EMBEDDED_VARIABLE, "amqp://guest:guest@127.0.0.1:1234/")
    assert broker.addresses()[0].port == 1234


def test_a_broker_in_memory_brings_its_driver() -> None:
    broker = load_mapping({"broker": {"url": "memory://shop/v"}}).config.broker

    (address,) = broker.addresses()

    assert (broker.driver, address.host, address.vhost, address.in_memory) == ("memory", "shop", "v", True)
    assert str(address) == "memory://shop/v"


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        ({"url": "amqp://a/", "urls": ["amqp://b/"]}, "broker.urls: write url or urls, not both"),
        ({"tls": {"ca_file": "x"}}, "broker.tls: tls options, but no URL"),
        ({"url": "amqps://a/", "tls": {"key_file": "x"}}, "key_file without cert_file"),
        ({"mechanism": "EXTERNAL"}, "broker.mechanism: mechanism EXTERNAL needs"),
        ({"reconnect": {"initial": "1m", "max": "1s"}}, "broker.reconnect.initial: initial is longer than max"),
        ({"url": "amqp://a/?heartbeat=3"}, "no ?query"),
        ({"url": "amqp://a:99999/"}, "not a number between"),
        ({"url": "embedded:x"}, "starts with amqp:// or amqps://, not embedded://"),
        ({"urls": ["embedded:", "amqp://a/"]}, "broker.urls: embedded: stands alone"),
        ({"url": "memory://a", "driver": "pika"}, "broker.driver: the driver memory is for a memory:// URL"),
        ({"driver": "memory"}, "broker.driver: the driver memory is for a memory:// URL"),
    ],
)
def test_broker_settings_that_do_not_fit_together_are_a_mistake(broker: dict[str, object], words: str) -> None:
    assert words in complaint({"broker": broker})


@pytest.mark.parametrize("pool", ["threads", "asyncio", "gevent", "eventlet"])
def test_a_hard_limit_needs_a_process_of_its_own(pool: str) -> None:
    text = complaint({"worker": {"pool": pool, "time_limit": 5}})

    assert "worker.time_limit" in text
    assert f"a pool of {pool}" in text
    assert "soft_time_limit" in text


@pytest.mark.parametrize("pool", ["processes", "prefork", "solo"])
def test_a_hard_limit_is_taken_where_tasks_have_a_process(pool: str) -> None:
    assert load_mapping({"worker": {"pool": pool, "time_limit": 5}}).config.worker.time_limit == 5.0


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        ({"time_limit": 5, "soft_time_limit": 5}, "soft_time_limit is not shorter"),
        ({"uvloop": True}, "uvloop needs pool: asyncio"),
        ({"autoscale": {"min": 3, "max": 2}}, "min is more than max"),
        ({"autoscale": {"min": 3}}, '"max" is missing'),
    ],
)
def test_worker_settings_that_do_not_fit_together_are_a_mistake(worker: dict[str, object], words: str) -> None:
    assert words in complaint({"worker": worker})


def test_interop_with_celery_takes_celerys_names_unless_others_are_given() -> None:
    config = load_mapping({"interop": "celery", "events": {"exchange": "mine"}}).config

    assert config.control.exchange == "celery.pidbox"
    assert config.events.exchange == "mine"
    assert Config().control.exchange == "aqt.control"


def test_annotations_apply_by_name_and_pattern_the_later_over_the_earlier() -> None:
    tasks = load_mapping(
        {
            "tasks": {
                "annotations": {
                    "*": {"max_retries": 1, "acks_late": False},
                    "mail.*": {"max_retries": None, "rate_limit": "10/s"},
                    "mail.send": {"time_limit": "1m"},
                }
            }
        }
    ).config.tasks

    assert tasks.annotated("mail.send") == {
        "max_retries": None,
        "acks_late": False,
        "rate_limit": "10/s",
        "time_limit": 60.0,
    }
    assert tasks.annotated("other") == {"max_retries": 1, "acks_late": False}


def test_the_configuration_cannot_be_changed() -> None:
    config = Config()

    with pytest.raises(ValueError, match="frozen"):
        config.worker.concurrency = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"queues": {"q": {"bind": [{"exchange": "x", "key": "a", "keys": ["b"]}]}}}, "key or keys, not both"),
        ({"queues": {"q": {"bind": ["x[a"]}}}, "not a binding"),
        ({"queues": {"q": {"bind": ["x[a,,b]"]}}}, "between the commas is empty"),
        ({"queues": {"q": {"bind": [{"key": "a"}]}}}, '"exchange" is missing'),
        ({"bindings": ["x[a] q"]}, "not a binding"),
        ({"bindings": [{"from": "x"}]}, '"to" is missing'),
        ({"bindings": [{"source": "x", "to": "y"}]}, 'unknown key "source"'),
        ({"queues": {"q": {"dead_letter": {"queue": "a", "exchange": "b"}}}}, "queue or exchange, not both"),
        ({"queues": {"q": {"dead_letter": {"routing_key": "a"}}}}, "a routing_key needs an exchange"),
        ({"queues": {"q": {"max_length": 1, "arguments": {"x-max-length": 2}}}}, "also given as max_length"),
        ({"routes": [{"task": "a", "queue": "q", "exchange": "x"}]}, "not both"),
        ({"routes": [{"task": "a", "queue": "q", "priority": 256}]}, "at most 255"),
    ],
)
def test_a_wrong_object_is_a_mistake(mapping: dict[str, object], words: str) -> None:
    assert words in complaint(mapping)
