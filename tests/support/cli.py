"""Commands of the real command line that need no app: run to their end in a folder of one's own."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]


class Shell:
    """A folder in which commands run; nothing of the caller's configuration reaches them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AMQTASK_")}
        self.environment["PYTHONPATH"] = str(ROOT)

    def write(self, text: str, name: str = "amqtask.yaml") -> Path:
        """Write a file; the text may be indented."""
        file = self.folder / name
        file.write_text(dedent(text), encoding="utf-8")
        return file

    def run(self, *arguments: str, timeout: float = 90.0, **environment: str) -> subprocess.CompletedProcess[str]:
        """`amqtask …` to its end, with these environment variables."""
        return subprocess.run(
            [sys.executable, "-m", "amqtask", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
