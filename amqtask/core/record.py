"""What stands for a record, which is a pydantic model or a dataclass, where plain data is wanted."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass


def members_of(value: object) -> Mapping[str, object] | None:
    """The members of a pydantic model or of a dataclass's instance, by name; None of anything else.

    Those of a model are plain already, and named by its aliases, so that the model takes them again.
    """
    # Asked for by its name: who has a model has loaded pydantic, and who has none need not.
    dump = getattr(type(value), "model_dump", None)
    if dump is not None:
        members: Mapping[str, object] = dump(value, mode="json", by_alias=True, round_trip=True)
        return members
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return None
