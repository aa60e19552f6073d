"""Which bindings a routing key or a table of headers matches: one index for each type of exchange.

An index maps what a message carries to destinations (opaque, hashable). It is told of each binding once; two bindings
to one destination are two, and a destination is given once however many match.
"""

from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from amqtask.devbroker.tables import Table, Value

D = TypeVar("D", bound=Hashable)

_WILDCARDS = frozenset({"*", "#"})
_ROUTES_BY_X_HEADERS = frozenset({"all-with-x", "any-with-x"})


class Index(Protocol[D]):
    """The bindings of one exchange."""

    def add(self, destination: D, routing_key: str, arguments: Table) -> None: ...
    def remove(self, destination: D, routing_key: str, arguments: Table) -> None: ...
    def match(self, routing_key: str, headers: Table) -> Iterable[D]: ...


class DirectIndex(Generic[D]):
    """Destinations by equal routing key."""

    def __init__(self) -> None:
        self._by_key: dict[str, list[D]] = {}

    def add(self, destination: D, routing_key: str, arguments: Table) -> None:
        self._by_key.setdefault(routing_key, []).append(destination)

    def remove(self, destination: D, routing_key: str, arguments: Table) -> None:
        bound = self._by_key[routing_key]
        bound.remove(destination)
        if not bound:
            del self._by_key[routing_key]

    def match(self, routing_key: str, headers: Table) -> Iterable[D]:
        return dict.fromkeys(self._by_key.get(routing_key, ()))


class FanoutIndex(Generic[D]):
    """Every destination."""

    def __init__(self) -> None:
        self._bound: list[D] = []

    def add(self, destination: D, routing_key: str, arguments: Table) -> None:
        self._bound.append(destination)

    def remove(self, destination: D, routing_key: str, arguments: Table) -> None:
        self._bound.remove(destination)

    def match(self, routing_key: str, headers: Table) -> Iterable[D]:
        return dict.fromkeys(self._bound)


class _Node(Generic[D]):
    __slots__ = ("children", "destinations", "is_hash")

    def __init__(self, *, is_hash: bool = False) -> None:
        self.children: dict[str, _Node[D]] = {}
        self.destinations: list[D] = []
        self.is_hash = is_hash


class TopicIndex(Generic[D]):
    """A trie of words; `*` stands for one word, `#` for any number of them, none included."""

    def __init__(self) -> None:
        self._root: _Node[D] = _Node()

    def add(self, destination: D, routing_key: str, arguments: Table) -> None:
        node = self._root
        for word in words(routing_key):
            node = node.children.setdefault(word, _Node(is_hash=word == "#"))
        node.destinations.append(destination)

    def remove(self, destination: D, routing_key: str, arguments: Table) -> None:
        path = [self._root]
        pattern = words(routing_key)
        for word in pattern:
            path.append(path[-1].children[word])
        path[-1].destinations.remove(destination)
        for parent, word in zip(reversed(path[:-1]), reversed(pattern), strict=True):
            child = parent.children[word]
            if child.children or child.destinations:
                break
            del parent.children[word]

    def match(self, routing_key: str, headers: Table) -> Iterable[D]:
        # Nodes are followed as a set, word by word: with several `#` in a pattern a search of all ways to match it
        # would be exponential.
        reached = _closure([self._root])
        for word in words(routing_key):
            following = [node for node in reached if node.is_hash]
            for node in reached:
                for name in ("*",) if word in _WILDCARDS else (word, "*"):
                    child = node.children.get(name)
                    if child is not None:
                        following.append(child)
            reached = _closure(following)
        found: dict[D, None] = {}
        for node in reached:
            found.update(dict.fromkeys(node.destinations))
        return found


def _closure(nodes: list[_Node[D]]) -> list[_Node[D]]:
    """`nodes` and what `#` reaches from them without a word, each once."""
    reached: dict[int, _Node[D]] = {}
    pending = nodes
    while pending:
        node = pending.pop()
        if id(node) not in reached:
            reached[id(node)] = node
            below = node.children.get("#")
            if below is not None:
                pending.append(below)
    return list(reached.values())


class HeadersIndex(Generic[D]):
    """Destinations whose binding's arguments the headers satisfy (`x-match`)."""

    def __init__(self) -> None:
        self._bound: list[tuple[D, Table]] = []

    def add(self, destination: D, routing_key: str, arguments: Table) -> None:
        self._bound.append((destination, arguments))

    def remove(self, destination: D, routing_key: str, arguments: Table) -> None:
        self._bound.remove((destination, arguments))

    def match(self, routing_key: str, headers: Table) -> Iterable[D]:
        return dict.fromkeys(destination for destination, arguments in self._bound if headers_match(arguments, headers))


def words(routing_key: str) -> list[str]:
    """The words of a topic; the empty key has none."""
    return routing_key.split(".") if routing_key else []


def headers_match(arguments: Table, headers: Table) -> bool:
    """Whether a headers exchange lets a message with `headers` through a binding with `arguments`.

    A binding's None asks only that the header is there. Names that begin with `x-` count only for `all-with-x` and
    `any-with-x`.
    """
    mode = arguments.get("x-match", "all")
    with_x = mode in _ROUTES_BY_X_HEADERS
    asked = {
        name: value for name, value in arguments.items() if name != "x-match" and (with_x or not name.startswith("x-"))
    }
    hits = (name in headers and (value is None or equal(value, headers[name])) for name, value in asked.items())
    return any(hits) if str(mode).startswith("any") else all(hits)


def equal(left: Value, right: Value) -> bool:
    """Equality as Erlang's `==` has it: 1 is 1.0, but true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[name]) for name, value in left.items())
    if isinstance(left, str):
        # A string and an array of bytes are the same to RabbitMQ.
        left = left.encode("utf-8", "surrogateescape")
    if isinstance(right, str):
        right = right.encode("utf-8", "surrogateescape")
    return left == right
