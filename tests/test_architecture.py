"""Who may import whom, how large files may be, and what importing the package loads: docs/architecture.md as a test."""

import fnmatch
import graphlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.source_tree import Import, Module, parse, read_package

ROOT = Path(__file__).parent.parent
PACKAGE = "amqtask"
MODULES = read_package(ROOT / PACKAGE)

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60


@dataclass(frozen=True, slots=True)
class Row:
    """Modules, what they may import when they are imported, and what besides that for type checkers only.

    All are patterns of names without the package's; the first row that fits a module holds for it.
    """

    modules: str
    may: str
    types: str = ""


# Lower layers first. What a row does not name is forbidden.
VALUES = "errors core.*"
PLUMBING = f"{VALUES} clock log hooks drivers.base session publisher ticket provision workflowlog"
SERVICES = (
    "app task batch awaiting canvas launch builtins result resultset results.access context sender effective registry"
    " joining hooks lifecycle component imports exits"
)
WATCHED = "control.* events.*"
DRIVER_PARTS = "drivers.frames drivers.replies drivers.stream drivers.wire drivers.wirechannel"
# They run while everything else may be broken: no user code, no AMQP.
SUPERVISOR = (
    "worker.supervisor worker.nursery worker.process worker.pipe worker.plan worker.board worker.reload"
    " worker.crew worker.crashes worker.budget worker.wakeup worker.offspring worker.reader"
    " worker.orphans"
)

TABLE = (
    Row("errors", ""),
    Row("clock", ""),
    Row("log", ""),
    Row("core", ""),
    Row("core.*", VALUES),
    Row("config", ""),
    Row("config.*", f"{VALUES} config.*"),
    # Ports and their adapters. The package's own file is the table that names the adapters by string.
    Row("drivers", "errors drivers.base"),
    Row("drivers.base", VALUES),
    # pika's client on a stream of its own: the broker in this process gets the same bytes as one on a socket.
    Row("drivers.memory", f"{VALUES} drivers.pika devbroker.local"),
    Row("drivers.*", f"{VALUES} drivers.base {DRIVER_PARTS}"),
    Row("executors", "errors executors.base"),
    Row("executors.base", VALUES),
    Row("executors.uvloop", "executors.aio"),
    Row("executors.gevent executors.eventlet", "errors executors.base executors.green"),
    Row("executors.*", "errors log executors.base executors.coroutines executors.crew executors.waiting"),
    Row("results", "errors results.base", types="results.setup"),
    Row("results.base", VALUES),
    Row("results.access", "errors results.base"),
    Row("results.completions results.waiting results.remote_error", f"{VALUES} results.base results.waiting"),
    Row("results.django", f"{VALUES} clock log results.* contrib.django_results.models"),
    Row("results.*", f"{VALUES} clock log drivers.base session publisher ticket results.*"),
    # Plumbing
    Row("embedded", "core.address"),
    Row("hooks", "", types="app context core.message"),
    Row("lifecycle", "", types="app"),
    Row("component", "errors lifecycle"),
    Row("session", f"{VALUES} clock log drivers.base hooks"),
    Row("publisher", f"{VALUES} clock log drivers.base hooks session ticket"),
    Row("ticket", "errors core.declare core.message"),
    Row("workflowlog", f"{VALUES} clock log publisher ticket"),
    Row("workflowreader", f"{VALUES} log publisher session ticket workflowlog results.stream_log"),
    Row("queueview", f"{VALUES} drivers.base"),
    Row("provision", f"{VALUES} clock log drivers.base"),
    # Services
    Row("context", VALUES, types="task"),
    Row("joining", "errors context"),
    Row(
        "result",
        f"{VALUES} joining results.access results.base results.remote_error results.waiting resultset",
        types="app",
    ),
    Row("resultset", f"{VALUES} joining results.base results.completions results.remote_error", types="result"),
    Row("awaiting", "errors batch", types="canvas"),
    Row("canvas", "errors core.* awaiting result", types="context task"),
    Row("typed", "errors"),
    Row("task", f"{VALUES} awaiting canvas context hooks result typed"),
    Row("registry", "errors task"),
    Row("commanding", "errors"),
    Row("configuring", "", types="config.loaded"),
    Row("batch", "errors ticket"),
    Row("effective", f"{VALUES} config.model task"),
    Row("reports", f"{VALUES} log context results.base"),
    Row(
        "sender",
        f"{VALUES} clock log config.model context hooks publisher ticket batch effective reports result results.access"
        " task",
    ),
    Row("launch", f"{PLUMBING} {SERVICES}"),
    Row("builtins", "core.* canvas registry task"),
    Row("imports", "errors", types="app"),
    # Calendars are for those who have periodic tasks: the app loads its list of them at first use.
    Row("periodic", VALUES, types="task"),
    Row("schedules", VALUES),
    Row("exits", "errors"),
    # Importing an app loads no YAML and no driver, so what it is made of is the assembly's, loaded at first use.
    Row(
        "app",
        "errors clock commanding component configuring core.retry core.signature hooks imports lifecycle registry"
        " reports result task batch canvas",
        types=f"assembly context config.* core.* launch periodic publisher session results.base testing.worker"
        f" {WATCHED}",
    ),
    Row("assembly", f"{PLUMBING} {SERVICES} {WATCHED} config.* embedded drivers results results.*"),
    Row("control.*", f"{PLUMBING} config.model result control.*"),
    Row("events.*", f"{PLUMBING} config.model events.*"),
    # Programs
    Row(
        SUPERVISOR,
        f"errors exits log clock configuring embedded core.backoff config.model {SUPERVISOR}",
        types="config.loaded",
    ),
    Row("worker.bootstrap", "worker.child worker.reader"),
    Row("worker.agent", f"{PLUMBING} {WATCHED} drivers worker.*"),
    Row(
        "worker.*",
        f"{PLUMBING} {SERVICES} {WATCHED} config.* executors executors.base results results.base worker.*",
    ),
    Row("beat.*", f"{PLUMBING} {SERVICES} {WATCHED} config.* results.base beat.*"),
    # A server beside all of it: nothing of it is ours to use, and it uses nothing of ours.
    Row("devbroker.*", "devbroker.*"),
    # What operators do to a broker's queues, without any program's help.
    Row("deadletters delayed", f"{VALUES} clock drivers.base"),
    # Edges
    Row(
        "testing.eager",
        f"{PLUMBING} {SERVICES} assembly worker.* results.memory",
    ),
    Row(
        "testing.*",
        f"{PLUMBING} {SERVICES} assembly beat.program config.* worker.* testing.* drivers executors devbroker.*",
    ),
    Row("contrib.*", f"{PLUMBING} {SERVICES} config.* contrib.*"),
    Row("web.* tui.*", f"{PLUMBING} {SERVICES} {WATCHED} queueview config.* web.* tui.*"),
    Row("cli.*", "*"),
    Row("__main__", "cli.entry"),
    # Packages that only hold modules, and the public names.
    Row("worker beat devbroker cli web tui testing contrib control events", ""),
    Row("", f"{SERVICES} errors core.signature core.stamping canvas"),
)

# Third-party packages, and the only modules that may import them.
THIRD_PARTY = {
    "pydantic": "config.* contrib.* typed",
    "pydantic_core": "config.* typed",
    "yaml": "config.yaml_tree core.serialize",
    "msgpack": "core.serialize",
    "zstandard": "core.compress",
    "cronsim": "core.crontab",
    "dateutil": "core.rrule",
    "astral": "core.solar",
    "pika": "drivers.pika",
    "amqp": "drivers.amqp",
    "pamqp": "devbroker.*",
    "gevent": "executors.gevent worker.bootstrap",
    "eventlet": "executors.eventlet worker.bootstrap",
    "uvloop": "executors.uvloop",
    "redis": "results.redis beat.store_redis",
    "sqlalchemy": "results.sql beat.store_sql",
    "pymemcache": "results.memcached",
    "pymongo": "results.mongodb",
    "elasticsearch": "results.elasticsearch",
    "cassandra": "results.cassandra",
    "django": "results.django contrib.django contrib.django_results*",
    "click": "cli.* devbroker.__main__",
    "rich": "cli.*",
    "textual": "tui.*",
    "watchfiles": "cli.reload",
}

# The core's instants, ids, chance and settings are arguments.
NOT_IN_CORE = (
    "time socket threading asyncio logging os random uuid secrets subprocess multiprocessing signal select selectors"
    " ssl pathlib tempfile"
)
VALUE_TYPES = {"core.extended_json": "uuid"}
"""Modules whose types are decoded there; it makes none."""

# A name that is bound before gevent patches its module stays unpatched.
NO_NAMES_FROM = {"threading", "socket", "select", "selectors", "ssl", "queue", "time", "subprocess", "signal"}

# Too long already. An entry may only become smaller, and goes when its file or function is short enough.
LONG_FILES = {"devbroker.channel": 414}
LONG_FUNCTIONS = {"worker.node.__init__": 92, "core.protocol.to_envelope": 65, "core.protocol.read_request": 65}

HEAVY = (
    "pika amqp pamqp yaml pydantic msgpack redis sqlalchemy gevent eventlet click rich django cronsim astral dateutil"
)


def short(name: str) -> str:
    """A module's name without the package's."""
    return name.removeprefix(PACKAGE).removeprefix(".")


def fits(name: str, patterns: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns.split()) or name == patterns == ""


def row_of(module: str) -> Row | None:
    return next((row for row in TABLE if fits(short(module), row.modules)), None)


def trespasses(module: Module) -> list[str]:
    """What a module imports of the package and may not."""
    row = row_of(module.name)
    if row is None:
        return [f"{module.name} is in no row of the table"]
    found = []
    for item in module.imports:
        if item.package != PACKAGE:
            continue
        allowed = f"{row.may} {row.types}" if item.for_types else row.may
        if not fits(short(item.target), allowed):
            found.append(f"{module.name}:{item.line} imports {item.target}")
    return found


def strangers(module: Module) -> list[str]:
    """What a module imports of others' packages and may not."""
    foreign = [item for item in module.imports if item.package not in sys.stdlib_module_names | {PACKAGE}]
    return [
        f"{module.name}:{item.line} imports {item.target}"
        for item in foreign
        if not fits(short(module.name), THIRD_PARTY.get(item.package, "none at all"))
    ]


def is_loaded_with(item: Import) -> bool:
    return item.package == PACKAGE and not item.in_function and not item.for_types


def importing(modules: dict[str, Module]) -> dict[str, set[str]]:
    """What is imported while each module is."""
    return {name: {item.target for item in module.imports if is_loaded_with(item)} for name, module in modules.items()}


def test_each_module_imports_only_what_its_row_allows() -> None:
    assert [line for module in MODULES.values() for line in trespasses(module)] == []


def test_each_third_party_package_is_imported_in_its_place_only() -> None:
    assert [line for module in MODULES.values() for line in strangers(module)] == []


def test_every_row_is_for_a_module_that_exists_or_is_designed() -> None:
    # A row that an earlier one hides would hold nothing.
    used = {id(row_of(name)) for name in MODULES}
    designed = ("control.*", "events.*", "web.* tui.*")
    idle = [row.modules for row in TABLE if id(row) not in used and row.modules not in designed]

    assert idle == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graphlib.TopologicalSorter(importing(MODULES)).prepare()


def test_the_core_reads_no_clock_socket_or_environment() -> None:
    found = [
        f"{module.name}:{item.line} imports {item.target}"
        for module in MODULES.values()
        if module.name.startswith(f"{PACKAGE}.core.")
        for item in module.imports
        if fits(item.package, NOT_IN_CORE) and item.package != VALUE_TYPES.get(short(module.name))
    ]

    assert found == []


def test_nothing_of_the_package_is_imported_within_a_function_except_by_commands() -> None:
    found = [
        f"{module.name}:{item.line} imports {item.target}"
        for module in MODULES.values()
        if not fits(short(module.name), "cli.* worker.bootstrap")
        for item in module.imports
        if item.in_function and item.package == PACKAGE
    ]

    assert found == []


def test_nothing_inside_imports_the_package_root() -> None:
    found = [
        f"{module.name}:{item.line}"
        for module in MODULES.values()
        for item in module.imports
        if item.target == PACKAGE or item.target.startswith(".")
    ]

    assert found == []


def test_no_names_are_taken_out_of_modules_that_gevent_patches() -> None:
    found = [
        f"{module.name}:{item.line} takes {', '.join(item.names)} from {item.target}"
        for module in MODULES.values()
        for item in module.imports
        if item.names and item.target in NO_NAMES_FROM
    ]

    assert found == []


def test_what_is_named_by_string_exists() -> None:
    place = re.compile(rf"({PACKAGE}(?:\.\w+)+):(\w+)")
    named = [
        (module.name, line, match[1], match[2])
        for module in MODULES.values()
        for text, line in module.strings()
        if (match := place.fullmatch(text))
    ]

    missing = [
        f"{where}:{line} names {module}:{attribute}"
        for where, line, module, attribute in named
        if module not in MODULES or attribute not in MODULES[module].defined()
    ]
    assert len(named) > 10
    assert missing == []


def test_folders_are_one_deep() -> None:
    # Django asks for a folder of migrations in each of its apps.
    deep = [name for name in MODULES if name.count(".") > 2 and not name.startswith(f"{PACKAGE}.contrib.")]

    assert deep == []


def test_files_are_short() -> None:
    long = {short(module.name): module.lines for module in MODULES.values() if module.lines > MOST_LINES}

    assert {name: lines for name, lines in long.items() if lines > LONG_FILES.get(name, MOST_LINES)} == {}
    assert LONG_FILES.keys() - long.keys() == set(), "these are short now: take them off the list"


def test_functions_are_short() -> None:
    long = {
        f"{short(module.name)}.{name}": lines
        for module in MODULES.values()
        for name, lines in module.functions()
        if lines > MOST_LINES_OF_A_FUNCTION
    }

    assert {name: n for name, n in long.items() if n > LONG_FUNCTIONS.get(name, MOST_LINES_OF_A_FUNCTION)} == {}
    assert LONG_FUNCTIONS.keys() - long.keys() == set(), "these are short now: take them off the list"


@pytest.mark.parametrize(
    ("statement", "light"),
    [
        ("import amqtask", "amqtask"),
        ("from amqtask import App", "amqtask.*"),
        ("import amqtask.worker.child, amqtask.worker.supervisor", "amqtask.*"),
    ],
)
def test_importing_loads_nothing_heavy(statement: str, light: str) -> None:
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(json.loads(done.stdout))

    assert [name for name in loaded if name.startswith(PACKAGE) and not fits(name, f"{PACKAGE} {light}")] == []
    assert [name for name in loaded if fits(name, HEAVY)] == []


# The test itself is able to fail.


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("core.topology", "from amqtask.config.model import Config"),
        ("core.topology", "def f():\n    import amqtask.session"),
        ("drivers.pika", "from amqtask.drivers.amqp import AmqpDriver"),
        ("devbroker.server", "from amqtask.errors import BrokerError"),
        ("session", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from amqtask.app import App"),
        ("worker.supervisor", "from amqtask.app import App"),
        ("beat.ticker", "from amqtask.worker.node import Node"),
        ("app", "from amqtask.config.load import load_config"),
        ("nobody", ""),
    ],
)
def test_a_trespass_is_found(name: str, source: str) -> None:
    assert len(trespasses(parse(source, f"{PACKAGE}.{name}"))) == 1


def test_what_a_row_allows_is_allowed() -> None:
    source = "from typing import TYPE_CHECKING\nimport time\nfrom amqtask.hooks import compose\nimport amqtask.errors\n"
    source += "if TYPE_CHECKING:\n    from amqtask.assembly import Parts\n"

    assert trespasses(parse(source, f"{PACKAGE}.app")) == []


def test_a_stranger_is_found() -> None:
    assert strangers(parse("import pika", f"{PACKAGE}.session")) == ["amqtask.session:1 imports pika"]
    assert strangers(parse("import numpy.linalg", f"{PACKAGE}.drivers.pika")) != []
    assert strangers(parse("import pika.spec", f"{PACKAGE}.drivers.pika")) == []


def test_a_circle_is_found() -> None:
    modules = {
        "amqtask.a": parse("import amqtask.b", "amqtask.a"),
        "amqtask.b": parse("import amqtask.a", "amqtask.b"),
    }

    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(importing(modules)).prepare()
