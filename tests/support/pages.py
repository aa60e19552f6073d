"""Markdown pages as the tests of the documentation see them: blocks of code with what is said of them, and links.

The first line of a block may say more than the language:

    ```python no-run            is only compiled
    ```python file=tasks.py     is written to the page's folder, for what comes after
    ```yaml parse               is only parsed: it is no whole configuration
    ```console no-run           is only read
    ```python from=tasks.py     is compared with that file of the repository

Blocks without a language, and in `text`, are for readers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^(?P=indent)(?P=fence) *$", re.M | re.S
)
_LINK = re.compile(r"\]\((?!\w+:)(?P<target>[^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One block of code."""

    page: Path
    line: int
    language: str
    flags: frozenset[str]
    code: str

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page.name}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that it is written to."""
        return self._value("file=")

    @property
    def source(self) -> str | None:
        """The file of the repository that it shows."""
        return self._value("from=")

    def commands(self) -> Iterator[str]:
        """The commands of a console block; a line that ends in a backslash goes on in the next."""
        joined = self.code.replace("\\\n", " ")
        return (line.removeprefix("$ ").strip() for line in joined.splitlines() if line.startswith("$ "))

    def _value(self, prefix: str) -> str | None:
        return next((flag.removeprefix(prefix) for flag in self.flags if flag.startswith(prefix)), None)


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            page=page,
            line=text.count("\n", 0, match.start()) + 1,
            language=(words := match["info"].split() or [""])[0],
            flags=frozenset(words[1:]),
            code=re.sub(rf"^{match['indent']}", "", match["code"], flags=re.M),
        )
        for match in _FENCE.finditer(text)
    ]


def broken_links(page: Path) -> list[str]:
    """The links to files that do not exist."""
    text = _FENCE.sub("", page.read_text())
    return [match["target"] for match in _LINK.finditer(text) if not (page.parent / match["target"]).exists()]
