"""YAML as the configuration reads it: version 1.2's words, anchors, bounds, and variables."""

from pathlib import Path

import pytest

from tests.support.config import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("word", ["on", "yes", "true", "True", "ON", '"yes"'])
def test_a_truth_value_may_be_written_as_people_write_it(folder: Folder, word: str) -> None:
    assert folder.load(f"worker: {{uvloop: {word}, pool: asyncio}}").config.worker.uvloop is True


@pytest.mark.parametrize("word", ["off", "no", "false", "False", "NO", "n"])
def test_no_is_no_where_a_truth_value_is_asked_for(folder: Folder, word: str) -> None:
    assert folder.load(f"publish: {{confirm: {word}}}").config.publish.confirm is False


@pytest.mark.parametrize("word", ["no", "on", "off", "y", "12:30:45", "2026-01-01", "1_000", "0x", "1e"])
def test_a_word_stays_text_where_text_is_asked_for(folder: Folder, word: str) -> None:
    assert folder.load(f"name: {word}").config.name == word
    assert list(folder.load(f"queues: {{{word.replace(':', '.')}: {{}}}}").config.queues) == [word.replace(":", ".")]


def test_a_key_that_looks_like_a_number_is_a_name(folder: Folder) -> None:
    config = folder.load("queues: {1: {}, true: {}, null: {}, 0755: {}}").config

    assert list(config.queues) == ["1", "true", "null", "0755"]


@pytest.mark.parametrize("number", ["0755", "-01", "00"])
def test_a_number_with_a_leading_zero_is_refused_because_readers_differ(folder: Folder, number: str) -> None:
    (complaint,) = folder.complaints(f"worker: {{concurrency: {number}}}")

    assert "octal" in complaint
    assert f'or "{number}"' in complaint


def test_an_octal_number_in_the_new_form_is_read(folder: Folder) -> None:
    assert folder.load("worker: {concurrency: 0o17}").config.worker.concurrency == 15
    assert folder.load("worker: {concurrency: 0x1F}").config.worker.concurrency == 31


def test_anchors_and_merge_keys_work(folder: Folder) -> None:
    config = folder.load(
        """
        queues:
          hi: &work {max_length: 10, overflow: reject-publish}
          lo: {<<: *work, max_length: 20}
        """
    ).config

    assert (config.queues["lo"].max_length, config.queues["lo"].overflow) == (20, "reject-publish")


def test_aliases_cannot_blow_up_a_short_text(folder: Folder) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]

    assert any("once its aliases are followed" in complaint for complaint in folder.complaints("\n".join(lines)))


@pytest.mark.parametrize("depth", [101, 2_000, 100_000])
def test_deep_nesting_is_a_mistake_and_no_crash(folder: Folder, depth: int) -> None:
    assert folder.complaints("a: " + "[" * depth + "]" * depth) == ["1:1 the values are nested too deeply"]


# Variables


def test_variables_are_replaced_with_and_without_defaults(folder: Folder) -> None:
    config = folder.load(
        """
        name: "${APP}-${STAGE:-dev}-${EMPTY:-none}"
        worker: {concurrency: "${N}", prefetch: "${P:-auto}", uvloop: "${U:-no}"}
        imports: ["${APP}.tasks", "$${APP}", "$APP"]
        """,
        env={"APP": "shop", "N": "3", "EMPTY": ""},
    ).config

    assert config.name == "shop-dev-none"
    assert (config.worker.concurrency, config.worker.prefetch, config.worker.uvloop) == (3, "auto", False)
    assert config.imports == ("shop.tasks", "${APP}", "$APP")


def test_a_variable_stays_text_where_text_is_asked_for(folder: Folder) -> None:
    assert folder.load("control: {secret: '${S}'}", env={"S": "0123"}).config.control.secret == "0123"


def test_a_variables_value_is_not_read_as_yaml(folder: Folder) -> None:
    assert folder.load("name: ${X}", env={"X": "a: [b] # ${APP}"}).config.name == "a: [b] # ${APP}"


def test_an_unset_variable_is_the_only_thing_said_of_its_value(folder: Folder) -> None:
    assert folder.complaints("broker:\n  url: ${NOWHERE}\n") == [
        "2:8 the environment variable NOWHERE is not set (or write ${NOWHERE:-default})"
    ]


def test_a_variable_that_breaks_a_flow_mapping_gets_a_hint(folder: Folder) -> None:
    (problem,) = folder.problems("control: {secret: ${S}}", env={"S": "1"})

    assert problem.hint == 'inside { } and [ ] put "${…}" in quotes'


@pytest.mark.parametrize("text", ["${", "${}", "${1X}", "${A-b}", "${A:?b}"])
def test_what_is_no_variable_is_a_mistake(folder: Folder, text: str) -> None:
    (complaint,) = folder.complaints(f"name: '{text}'", env={"A": "1"})

    assert "not a variable" in complaint
