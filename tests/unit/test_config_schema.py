"""The JSON Schema, and that it, the example and the documentation are in step with the models."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from amqtask.config.load import load_config
from amqtask.config.model import Compression, Config, SerializerName
from amqtask.config.schema import json_schema
from amqtask.core.compress import find_compressor
from amqtask.core.serialize import DEFAULT_SERIALIZERS

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> Iterator[Any]:
    for page in ("docs/config.md", "docs/topology.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(match[1], id=f"{page}:{line}")


def test_the_committed_schema_is_in_step_with_the_models() -> None:
    committed = json.loads((ROOT / "configs/amqtask.schema.json").read_text(encoding="utf-8"))

    assert committed == json_schema(), "run: amqtask config schema > configs/amqtask.schema.json"


def test_every_setting_has_a_description() -> None:
    # pydantic leaves the description of a section out where it is the same as the section's own.
    schema = json_schema()
    sections = {name: part for name, part in schema["$defs"].items() if name != "Variable"}
    undescribed = [
        f"{name}.{key}"
        for name, section in {"Config": schema, **sections}.items()
        for part in [section, *section.get("anyOf", [])]
        for key, value in part.get("properties", {}).items()
        if "description" not in value and "$ref" not in value
    ]

    assert undescribed == []


def test_unknown_keys_are_refused_by_the_schema_too() -> None:
    schema = json_schema()

    assert schema["additionalProperties"] is False
    assert schema["$defs"]["WorkerConfig"]["additionalProperties"] is False


def test_the_bounds_of_numbers_are_in_the_schema() -> None:
    (number, _variable) = json_schema()["$defs"]["WorkerConfig"]["properties"]["ack_batch"]["anyOf"]

    assert number == {"type": "integer", "minimum": 1}


def test_the_example_loads_without_a_warning() -> None:
    loaded = load_config(ROOT / "configs/amqtask.yaml", env={})

    assert [str(warning) for warning in loaded.warnings] == []


def test_the_example_shows_every_section() -> None:
    text = (ROOT / "configs/amqtask.yaml").read_text(encoding="utf-8")
    missing = [
        section
        for section in Config.model_fields
        if not re.search(rf"^(# ?)?{section}:", text, re.MULTILINE) and section != "interop"
    ]

    assert missing == []


@pytest.mark.parametrize("block", list(blocks()))
def test_a_block_of_the_documentation_loads(block: str, tmp_path: Path) -> None:
    file = tmp_path / "amqtask.yaml"
    file.write_text(block, encoding="utf-8")
    for name in re.findall(r"[\w/*]+\.yaml", block):
        part = tmp_path / name.replace("*", "part")
        if part != file and not part.exists():
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_text("{}", encoding="utf-8")

    load_config(file, env={})


def test_the_names_of_serializers_and_compressions_exist() -> None:
    for name in get_args(SerializerName):
        assert DEFAULT_SERIALIZERS.encode(b"" if name == "raw" else [], name).body is not None
    for name in get_args(Compression):
        assert find_compressor(name) is not None
