"""Files that include each other."""

from pathlib import Path

import pytest

from tests.support.config import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_included_files_are_merged_section_by_section(folder: Folder) -> None:
    folder.write("broker: {heartbeat: 5s}\nqueues: {lo: {}}\n", "common.yaml")

    config = folder.load("include: [common.yaml]\nbroker: {connect_timeout: 1s}\nqueues: {hi: {}}\n").config

    assert (config.broker.heartbeat, config.broker.connect_timeout) == (5.0, 1.0)
    assert set(config.queues) == {"hi", "lo"}


def test_one_file_may_be_named_without_a_list(folder: Folder) -> None:
    folder.write("name: common\n", "common.yaml")

    assert folder.load("include: common.yaml\n").config.name == "common"


def test_lists_are_joined_the_files_own_entries_first(folder: Folder) -> None:
    folder.write('routes: [{task: "*", queue: hi}]\nimports: [b]\n', "common.yaml")

    config = folder.load(
        "include: [common.yaml]\nqueues: {hi: {}, lo: {}}\nroutes: [{task: a, queue: lo}]\nimports: [a]\n"
    ).config

    assert [route.task for route in config.routes] == ["a", "*"]
    assert config.imports == ("a", "b")


def test_names_are_relative_to_the_file_that_includes(folder: Folder) -> None:
    folder.write("include: [deeper/queues.yaml]\n", "parts/all.yaml")
    folder.write("queues: {hi: {}}\n", "parts/deeper/queues.yaml")

    assert "hi" in folder.load("include: [parts/all.yaml]\n").config.queues


def test_a_pattern_takes_all_files_that_match_in_the_order_of_their_names(folder: Folder) -> None:
    folder.write("imports: [b]\n", "parts/b.yaml")
    folder.write("imports: [a]\n", "parts/a.yaml")
    folder.write("imports: [c]\n", "parts/c.txt")

    assert folder.load('include: ["parts/*.yaml"]\n').config.imports == ("a", "b")


def test_a_file_that_two_others_include_is_read_once(folder: Folder) -> None:
    folder.write("queues: {hi: {}}\n", "base.yaml")
    folder.write("include: [base.yaml]\n", "one.yaml")
    folder.write("include: [base.yaml]\n", "two.yaml")

    assert "hi" in folder.load("include: [one.yaml, two.yaml]\n").config.queues


def test_a_value_that_two_files_give_is_a_mistake_that_names_both(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.path)
    folder.write("broker:\n  heartbeat: 5s\nqueues:\n  hi: {}\nname: b\n", "common.yaml")

    problems = folder.problems("include: [common.yaml]\nbroker: {heartbeat: 6s}\nqueues: {hi: {}}\nname: a\n")

    assert [str(problem) for problem in problems] == [
        "common.yaml:2:3: broker.heartbeat is already given at amqtask.yaml:2",
        "common.yaml:4:3: queues.hi is already given at amqtask.yaml:3",
        "common.yaml:5:1: name is already given at amqtask.yaml:4",
    ]


def test_files_that_include_each_other_are_a_mistake(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path)
    folder.write("include: [amqtask.yaml]\n", "other.yaml")

    (problem,) = folder.problems("include: [other.yaml]\n")

    assert str(problem) == ("other.yaml:1:11: the files include each other: amqtask.yaml -> other.yaml -> amqtask.yaml")


@pytest.mark.parametrize(
    ("include", "words"),
    [
        ("[nowhere.yaml]", "1:11 cannot read"),
        ("['no/*.yaml']", "1:11 no file matches 'no/*.yaml'"),
        ("[5]", "1:11 include[0]: must be text"),
        ("{a: b}", "1:10 include: must be a list"),
    ],
)
def test_what_cannot_be_included_is_a_mistake(folder: Folder, include: str, words: str) -> None:
    (complaint,) = folder.complaints(f"include: {include}\n")

    assert words in complaint


def test_a_mistake_in_an_included_file_has_that_files_place(folder: Folder) -> None:
    folder.write("queues:\n  hi: {typ: classic}\n", "queues.yaml")

    (problem,) = folder.problems("include: [queues.yaml]\n")

    assert problem.file is not None
    assert problem.file.endswith("queues.yaml")
    assert (problem.line, problem.column) == (2, 8)


def test_names_are_resolved_over_all_files(folder: Folder) -> None:
    folder.write("exchanges: {tasks: {}}\n", "exchanges.yaml")
    folder.write('queues: {hi: {bind: ["tasks[hi.#]"]}}\n', "queues.yaml")

    assert folder.load("include: [exchanges.yaml, queues.yaml]\n").warnings == ()


def test_an_unreadable_include_does_not_make_the_names_in_it_wrong(folder: Folder) -> None:
    complaints = folder.complaints("include: [nowhere.yaml]\nroutes: [{task: a, queue: hi}]\nworker: {pol: x}\n")

    assert len(complaints) == 2
    assert "cannot read" in complaints[0]
    assert 'unknown key "pol"' in complaints[1]
