"""What every section of the configuration is: a frozen model that knows all its keys."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A part of the configuration; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a field that nothing may show: a URL loses its password, any other value is masked whole."""


SECRET = Secret()


def wrong(key: str, message: str) -> PydanticCustomError:
    """What a section's validator raises when several settings do not fit together; `key` is the one to look at."""
    return PydanticCustomError("wrong", "{message}", {"message": message, "key": key})
