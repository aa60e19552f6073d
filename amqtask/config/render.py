"""A configuration for people's eyes: every setting, where it came from, and no secrets."""

import re
import typing
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from amqtask.config.loaded import LoadedConfig, Setting
from amqtask.config.section import Secret
from amqtask.config.tree import Origin, Path
from amqtask.config.values import parse_duration

MASK = "***"

_PASSWORD = re.compile(r"(?<=://)([^:@/?#]*):.*@")
_SECRET_NAME = re.compile(r"(?i)password|secret|token|credential")
_IN_QUERY = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&#]*")


def settings(loaded: LoadedConfig) -> Iterator[Setting]:
    """Every setting of a configuration, defaults too, in the order of the model."""
    yield from _of_model(loaded.config, (), loaded)


def mask(text: str) -> str:
    """A secret without what makes it one: a URL keeps its user and host, any other text nothing."""
    if "://" not in text:
        return MASK
    return _IN_QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))


def _of_model(model: BaseModel, path: Path, loaded: LoadedConfig) -> Iterator[Setting]:
    for name, field in type(model).model_fields.items():
        marks = set(_marks(field))
        yield from _of_value(getattr(model, name), (*path, field.alias or name), marks, loaded)


def _of_value(value: object, path: Path, marks: set[str], loaded: LoadedConfig) -> Iterator[Setting]:
    if isinstance(value, BaseModel):
        yield from _of_model(value, path, loaded)
    elif isinstance(value, dict) and value:
        for key, item in value.items():
            secret = {"secret"} if _SECRET_NAME.search(key) else set()
            yield from _of_value(item, (*path, key), marks | secret, loaded)
    elif isinstance(value, (tuple, list)) and value:
        for index, item in enumerate(value):
            yield from _of_value(item, (*path, index), marks, loaded)
    else:
        yield _setting(value, path, marks, loaded.origin(path))


def _setting(value: object, path: Path, marks: set[str], origin: Origin) -> Setting:
    if "secret" in marks and isinstance(value, str):
        value = mask(value)
    if value in ((), {}):
        text = "[]" if value == () else "{}"
    elif value is None:
        text = "-"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif "duration" in marks and isinstance(value, float):
        text = f"{value:g}s"
    else:
        text = str(value) or '""'
    return Setting(path=path, value=list(value) if isinstance(value, tuple) else value, text=text, origin=origin)


def _marks(field: FieldInfo) -> Iterator[str]:
    yield from _marks_in([*field.metadata, field.annotation])


def _marks_in(parts: Iterable[object]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Secret):
            yield "secret"
        elif isinstance(part, BeforeValidator) and part.func is parse_duration:
            yield "duration"
        elif arguments := typing.get_args(part):
            yield from _marks_in(arguments)
