"""What is wrong with a configuration whose every value is well formed: names, reach, illegal combinations."""

from collections.abc import Iterable, Iterator

from amqtask.config.check import Checked
from amqtask.config.model import Config
from amqtask.config.topology import build_routes, build_topology
from amqtask.config.tree import Node, Origin, Path
from amqtask.core.cycles import check_cycles
from amqtask.core.finding import Finding
from amqtask.core.queue_arguments import QUEUE_ARGUMENTS, Version
from amqtask.core.route_check import check_reach, check_routes
from amqtask.core.topology_check import check_topology
from amqtask.errors import Problem

_OBJECTS = ("exchanges", "queues", "bindings", "defaults")


def check_meaning(checked: Checked) -> tuple[list[Problem], tuple[Problem, ...]]:
    """The mistakes and the warnings. Where mistakes were left out, nothing is said that may follow from them alone."""
    if checked.config is None:
        return [], ()
    lost = {path[:2] for path in checked.lost}
    if any(path in checked.lost for path in ((), *((name,) for name in _OBJECTS))):
        return [], ()
    # A queue that is lost as a whole would make all its mentions wrong.
    if any(len(path) == 2 and path[0] in _OBJECTS for path in checked.lost):
        return [], ()
    whole = not any(path[0] in (*_OBJECTS, "routes") for path in lost)
    findings = [finding for finding in find(checked.config, whole=whole) if finding.path[:2] not in lost]
    problems = [to_problem(finding, checked.tree) for finding in findings if not finding.is_warning]
    warnings = [to_problem(finding, checked.tree) for finding in findings if finding.is_warning]
    return problems, tuple(warnings)


def find(config: Config, *, server: Version | None = None, whole: bool = True) -> Iterable[Finding]:
    """All findings about a configuration's objects and routes; without `whole`, those about each for itself."""
    topology, routes = build_topology(config), build_routes(config)
    default_queue, default_exchange = config.tasks.default_queue, config.tasks.default_exchange
    yield from check_topology(topology, server=server)
    yield from check_routes(
        routes,
        topology,
        default_queue=default_queue,
        default_exchange=default_exchange,
        mentions=list(_mentions(config)),
    )
    if whole:
        yield from check_cycles(topology)
        yield from check_reach(routes, topology, default_queue=default_queue, default_exchange=default_exchange)


def _mentions(config: Config) -> Iterator[tuple[Path, str]]:
    """The queues that the worker's settings name."""
    for index, name in enumerate(config.worker.queues):
        yield ("worker", "queues", index), name
    if isinstance(config.worker.prefetch, dict):
        for name in config.worker.prefetch:
            yield ("worker", "prefetch", name), name


def to_problem(finding: Finding, tree: Node) -> Problem:
    """A finding at its place in the files."""
    return _place(finding.path, tree).problem(finding.message, finding.hint)


def _place(path: Path, tree: Node) -> Origin:
    """Where a finding's path is in the files: the value, the key of a whole object, or the argument of that meaning."""
    if path[0] == "queues" and tree.follow(path)[1] != path:
        setting = ".".join(str(part) for part in path[2:])
        for argument in QUEUE_ARGUMENTS:
            spelled = (*path[:2], "arguments", argument.key)
            if argument.setting == setting and tree.follow(spelled)[1] == spelled:
                return tree.place(spelled)
    return tree.place(path)
