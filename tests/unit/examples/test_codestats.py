"""The functions of the example codestats, and where its configuration sends files."""

import pytest

from examples.codestats.demo import BROKEN, QUEUES, queue_of
from examples.codestats.report import Counted, by_package, dead_letter_table, package_table
from examples.codestats.source import MODULES, Stats, measure, standard_library
from examples.codestats.tasks import app, count
from examples.objects import DeadLetter

SOURCE = b"""\
class Shelf:
    def put(self, book):
        if book:
            for page in book:
                print(page)

    async def take(self): ...


def loan(): ...
"""


def test_lines_functions_classes_and_the_deepest_nesting_are_counted() -> None:
    assert measure(SOURCE) == {"lines": 10, "functions": 3, "classes": 1, "nesting": 4}


def test_an_empty_file_counts_as_nothing() -> None:
    assert measure(b"") == {"lines": 0, "functions": 0, "classes": 0, "nesting": 0}


def test_an_encoding_declared_in_the_file_is_respected() -> None:
    source = "# coding: latin-1\nname = 'Gödel'\n".encode("latin-1")

    assert measure(source)["lines"] == 2


@pytest.mark.parametrize("source", [b"def f(:\n", b"print 'two'\n", b"# coding: no-such\n", b"x = '\xff'\n"])
def test_what_is_not_python_raises_a_syntax_error(source: bytes) -> None:
    with pytest.raises(SyntaxError):
        measure(source)


def test_an_invalid_escape_in_a_source_is_no_warning_of_ours() -> None:
    assert measure(rb"pattern = '\d'")["lines"] == 1


def test_the_standard_library_has_over_500_files_each_in_a_package() -> None:
    files = list(standard_library())

    packages = {file.path.name: file.package for file in files}
    assert len(files) > 500
    assert packages["os.py"] == MODULES
    assert packages["decoder.py"] == "json"
    assert not any("site-packages" in file.path.parts for file in files)


def test_the_broken_file_is_broken() -> None:
    with pytest.raises(SyntaxError):
        count(str(BROKEN.path), package=BROKEN.package)


def test_a_task_can_be_called_like_the_function_that_it_is() -> None:
    assert count(__file__, package="tests")["functions"] > 5


@pytest.mark.parametrize(("package", "queue"), [("json", "hi"), ("asyncio", "hi"), ("test", "lo"), (MODULES, "lo")])
def test_urgent_packages_go_to_hi_and_the_rest_to_lo(package: str, queue: str) -> None:
    assert queue_of(package) == queue
    assert app.config.worker.queues == QUEUES


def test_every_package_of_the_standard_library_reaches_one_work_queue_and_the_audit() -> None:
    for package in {file.package for file in standard_library()}:
        reached = app.router.resolve(count.name, ["a path"], {"package": package}).queues

        assert reached in (("hi", "audit"), ("lo", "audit"))


def stats(lines: int, nesting: int) -> Stats:
    return Stats(lines=lines, functions=2, classes=1, nesting=nesting)


def test_files_are_added_up_by_package_the_largest_first() -> None:
    totals = by_package([("json", stats(10, 5)), ("test", stats(100, 2)), ("json", stats(20, 3))])

    assert list(totals.items()) == [
        ("test", Counted(files=1, lines=100, functions=2, classes=1, nesting=2)),
        ("json", Counted(files=2, lines=30, functions=4, classes=2, nesting=5)),
    ]


def test_the_table_leaves_out_small_packages_but_never_urgent_ones() -> None:
    totals = by_package([("a", stats(30, 1)), ("b", stats(20, 1)), ("c", stats(10, 1))])

    table = package_table(totals, {"a": "lo", "b": "lo", "c": "hi"}, largest=1)

    assert list(table.columns[0].cells) == ["a", "c", "… and 1 more"]


def test_dead_letters_are_listed_by_path_with_their_error() -> None:
    letters = [DeadLetter("lo.dlq", (f"/lib/{name}",), "SyntaxError", f"in {name}") for name in ("b.py", "a.py")]

    table = dead_letter_table(letters)

    assert [str(cell) for cell in table.columns[0].cells] == ["a.py", "b.py"]
    assert [str(cell) for cell in table.columns[2].cells] == ["SyntaxError: in a.py", "SyntaxError: in b.py"]
