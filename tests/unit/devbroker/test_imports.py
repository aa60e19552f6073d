"""The devbroker stands alone, and the broker without a socket needs no pamqp."""

import ast
import pathlib
import subprocess
import sys

import amqtask.devbroker

FOLDER = pathlib.Path(amqtask.devbroker.__file__).parent


def imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_it_imports_nothing_of_amqtask_but_itself_and_nothing_of_others_but_pamqp() -> None:
    allowed = {*sys.stdlib_module_names, "pamqp"}
    for path in FOLDER.glob("*.py"):
        for name in imported(path):
            assert name.startswith("amqtask.devbroker") or name.partition(".")[0] in allowed, f"{path.name}: {name}"


def test_the_broker_alone_needs_no_pamqp() -> None:
    script = "import sys; sys.modules['pamqp'] = None; import amqtask.devbroker.broker"
    subprocess.run([sys.executable, "-c", script], check=True)
