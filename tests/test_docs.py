"""The code in the documentation runs. `tests/support/pages.py` says how a block says what is to be done with it."""

import ast
from pathlib import Path

import pytest
import yaml

from amqtask.config.load import load_config
from amqtask.config.model import Config
from amqtask.errors import ConfigError
from tests.support.page_runner import PageRunner
from tests.support.pages import Block, blocks, broken_links

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
SECTIONS = set(Config.model_fields)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runs(block: Block) -> bool:
    if "no-run" in block.flags or block.source is not None:
        return False
    return block.file is not None or block.language in ("python", "console")


RUNNING_DEADLINE = 400
RUNNING = [page for page in PAGES if any(runs(block) for block in blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    assert broken_links(page) == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_are_shown_as_they_are(page: Path) -> None:
    shown = [(block, ROOT / block.source) for block in blocks(page) if block.source is not None]

    assert [block.place for block, file in shown if block.code.strip() != file.read_text().strip()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python" and not block.code.lstrip().startswith(">>>"):
            # As the page's runner compiles it: `await` may stand outside of functions.
            compile(block.code, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_yaml_that_configures_is_without_mistakes(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMQTASK_BROKER_URL", raising=False)
    wrong = []
    for block in blocks(page):
        if block.language != "yaml":
            continue
        content = yaml.safe_load(block.code)
        if "parse" in block.flags or not isinstance(content, dict) or not content.keys() <= SECTIONS:
            continue
        file = tmp_path / f"{block.page.stem}-{block.line}.yaml"
        file.write_text(block.code)
        try:
            load_config(file)
        except ConfigError as error:
            wrong.append(f"{block.place}: {error}")

    assert wrong == []


@pytest.mark.timeout(RUNNING_DEADLINE)
@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_what_the_page_says_can_be_done(page: Path, vhost: str, tmp_path: Path) -> None:
    with PageRunner(tmp_path, {"AMQTASK_BROKER_URL": vhost}) as runner:
        wrong = [f"{block.place}: {error}" for block in blocks(page) if runs(block) and (error := runner.run(block))]

    assert wrong == []


def test_a_page_that_is_wrong_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[gone](nowhere.md)\n"
        "```python file=shop.py\nprice = 3\n```\n"
        "```python\nfrom shop import price\nassert price == 4, 'dear'\n```\n"
        "```python\n>>> price\n5\n```\n"
        "```python\nprice = price + 1\nassert price == 4\n```\n"
        "```console\n$ amqtask nonsense\n$ rm -rf something\n```\n"
    )
    with PageRunner(tmp_path, {}) as runner:
        wrong = [runner.run(block) for block in blocks(page)]

    assert broken_links(page) == ["nowhere.md"]
    assert wrong[0] == wrong[3] == ""
    assert "dear" in wrong[1]
    assert "Expected:\n    5\nGot:\n    3" in wrong[2]
    assert "exit code 2" in wrong[4]


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}

    assert {page for page in pages if f"({page})" not in index} == set()
