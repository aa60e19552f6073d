"""The configuration without pydantic, as a worker's processes have it."""

import pickle

import pytest

from amqtask.config.load import load_mapping
from amqtask.config.model import Config
from amqtask.config.reading import to_sheet
from amqtask.config.section import Section

GIVEN = {
    "broker": {
        "urls": ["amqps://u:p@a/", "amqps://u:p@b/v"],
        "heartbeat": 2.5,
        "tls": {"ca_file": "ca.pem", "verify": False},
    },
    "queues": {"a.b": {"bind": ["amq.topic[x]"], "message_ttl": "90s", "arguments": {"x-some": [1, {"y": None}]}}},
    "worker": {"prefetch": {"a.b": 7}, "autoscale": {"min": 1, "max": 3}},
    "tasks": {"annotations": {"mail.*": {"rate_limit": "10/s"}, "mail.send": {"max_retries": None}}},
}


def config() -> Config:
    return load_mapping(GIVEN).config


def test_a_sheet_has_every_setting_of_the_model() -> None:
    def same(model: object, sheet: object) -> None:
        if isinstance(model, Section):
            assert not isinstance(sheet, Section)
            for name in type(model).model_fields:
                same(getattr(model, name), getattr(sheet, name))
        elif isinstance(model, dict):
            assert isinstance(sheet, dict)
            assert model.keys() == sheet.keys()
            for key, value in model.items():
                same(value, sheet[key])
        elif isinstance(model, tuple):
            assert isinstance(sheet, tuple)
            for one, other in zip(model, sheet, strict=True):
                same(one, other)
        else:
            assert model == sheet

    same(config(), to_sheet(config()))


def test_a_sheet_can_what_the_model_can() -> None:
    model, sheet = config(), pickle.loads(pickle.dumps(to_sheet(config())))

    assert sheet.broker.addresses() == model.broker.addresses()
    assert sheet.broker.embedded is model.broker.embedded is False
    for task in ("mail.send", "mail.read", "other"):
        assert sheet.tasks.annotated(task) == model.tasks.annotated(task)


def test_a_sheet_cannot_be_changed() -> None:
    sheet = to_sheet(config())

    with pytest.raises(AttributeError, match="cannot be changed: name"):
        sheet.name = "x"
    with pytest.raises(AttributeError, match="has no 'nam'"):
        _ = sheet.nam
