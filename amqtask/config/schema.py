"""The JSON Schema of the configuration, for editors that complete and check YAML."""

from pydantic.json_schema import JsonSchemaValue

from amqtask.config.model import Config


def json_schema() -> JsonSchemaValue:
    """The schema, in the 2020-12 dialect."""
    schema = Config.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "amqtask configuration"}
