"""The JSON Schema of the configuration, for editors that complete and check YAML."""

from typing import Any

from pydantic.json_schema import JsonSchemaValue

from amqtask.config.model import Config

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# What a variable is replaced with is read as the number, truth value or word that its place asks for.
VARIABLE: JsonSchemaValue = {"type": "string", "pattern": r"\$\{[A-Za-z_]"}
_VARIABLE_REFERENCE: JsonSchemaValue = {"$ref": "#/$defs/Variable"}


def json_schema() -> JsonSchemaValue:
    """The schema, in the 2020-12 dialect."""
    schema: JsonSchemaValue = _simplified(Config.model_json_schema(by_alias=True))
    definitions = {**schema.pop("$defs"), "Variable": VARIABLE}
    return {"$schema": DIALECT, "title": "amqtask configuration", **schema, "$defs": definitions}


def _simplified(part: Any, *, is_names: bool = False) -> Any:
    """Without pydantic's titles, which repeat the names, and with variables where a text is not legal anyway.

    `is_names`: the keys of this mapping are names of properties or definitions, not keywords.
    """
    if isinstance(part, list):
        return [_simplified(item) for item in part]
    if not isinstance(part, dict):
        return part
    simple = {
        key: _simplified(value, is_names=not is_names and key in ("properties", "$defs"))
        for key, value in part.items()
        if is_names or (key != "title" and not (key == "default" and value is None))
    }
    if not is_names and (simple.get("type") in ("integer", "number", "boolean") or "enum" in simple):
        outside = {key: simple.pop(key) for key in ("description", "default") if key in simple}
        return {"anyOf": [simple, _VARIABLE_REFERENCE], **outside}
    return simple
