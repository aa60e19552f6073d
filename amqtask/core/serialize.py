"""Values to bytes and back: the registry of serializers, and what is refused before it is decoded.

Names and content types are kombu's (`kombu/serialization.py`). Whatever a decoder makes of hostile bytes, what comes
out of here is a value, `ContentRefused` or `Undecodable`.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from amqtask.core import extended_json
from amqtask.core.glimpse import glimpse
from amqtask.core.record import members_of
from amqtask.errors import ConfigError, ContentRefused, Problem, Undecodable, Unserializable

_PLAIN_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "binary"})
"""The content encodings that change nothing about the bytes. Any other (gzip, latin-1, …) would, so it is refused."""

_BLAME_DEPTH = 40
_YAML_NODES = 1_000_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as bytes, with what a message's properties say about them."""

    body: bytes
    content_type: str
    content_encoding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serializer:
    """A way to turn values into bytes and back.

    `dumps` may return text, which is then encoded as UTF-8. Both functions may raise any Exception for a value or for
    bytes that they cannot take.
    """

    name: str
    content_type: str
    content_encoding: str
    dumps: Callable[[object], bytes | str]
    loads: Callable[[bytes], object]


class Serializers:
    """The serializers that an app knows, by name and by content type. A value: it never changes."""

    __slots__ = ("_by_content_type", "_by_name")

    def __init__(self, serializers: Iterable[Serializer]) -> None:
        self._by_name = {serializer.name: serializer for serializer in serializers}
        self._by_content_type = {serializer.content_type: serializer for serializer in self._by_name.values()}

    def register(
        self,
        name: str,
        content_type: str,
        content_encoding: str,
        dumps: Callable[[object], bytes | str],
        loads: Callable[[bytes], object],
    ) -> "Serializers":
        """A registry that knows this one too, in place of any of the same name; the present one stays as it is."""
        added = Serializer(
            name=name, content_type=content_type, content_encoding=content_encoding, dumps=dumps, loads=loads
        )
        return Serializers([*(known for known in self if known.name != name), added])

    def __iter__(self) -> Iterator[Serializer]:
        return iter(self._by_name.values())

    def named(self, name: str) -> Serializer:
        """The serializer of this name.

        Raises:
            ConfigError: there is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(sorted(self._by_name))
            raise ConfigError([Problem(message=f"unknown serializer {name!r}", hint=f"known are {known}")]) from None

    def encode(self, value: object, serializer: str, parts: tuple[str, ...] = ("value",)) -> Encoded:
        """The value as bytes.

        `parts` gives the names by which an error speaks of the value, or, if there are several, of its items.

        Raises:
            Unserializable: says which part of the value it is that has no form, as in `args[0]['when']`.
            ConfigError: there is no such serializer.
        """
        chosen = self.named(serializer)
        try:
            body = chosen.dumps(value)
            if isinstance(body, str):
                return Encoded(body.encode("utf-8"), chosen.content_type, "utf-8")
        except Exception as error:
            raise Unserializable(_blame(chosen, value, parts, error)) from error
        return Encoded(body, chosen.content_type, chosen.content_encoding)

    def accepted(self, content_type: str | None, content_encoding: str | None, accept: Collection[str]) -> Serializer:
        """The serializer for such a body; `accept` holds names or content types.

        Raises:
            ContentRefused: the type is unknown or not accepted, or the encoding is not a plain one.
        """
        found = self._by_content_type.get(content_type or "application/data")
        if found is None or (found.name not in accept and content_type not in accept):
            offered = f"content type {content_type!r:.100}" if content_type else "a body without a content type"
            raise ContentRefused(f"{offered} is not accepted here; accepted: {', '.join(sorted(accept)) or 'nothing'}")
        # The first comparison is the usual end of it.
        plain = content_encoding == found.content_encoding or (content_encoding or "utf-8").lower() in _PLAIN_ENCODINGS
        if not plain:
            raise ContentRefused(f"content encoding {content_encoding!r:.100} is not accepted here")
        return found

    def decode(
        self, body: bytes, content_type: str | None, content_encoding: str | None, accept: Collection[str]
    ) -> object:
        """The value of the bytes; `accept` holds the names or content types that may be decoded.

        Raises:
            ContentRefused: the type or the encoding is not accepted; nothing has been decoded.
            Undecodable: the bytes are not what the content type says.
        """
        serializer = self.accepted(content_type, content_encoding, accept)
        try:
            value = serializer.loads(body)
            if serializer.name == "raw" and content_encoding not in (None, "", "binary"):
                return body.decode("utf-8")
        except RecursionError as error:
            raise Undecodable(f"the {serializer.name} body is nested too deeply") from error
        except Exception as error:
            raise Undecodable(f"the body cannot be decoded as {serializer.name}: {_because(error)}") from error
        return value


def _because(error: Exception) -> str:
    """An exception on one line; those of msgpack often carry no text."""
    text = " ".join(str(error).split())
    return f"{text:.300}" if text else type(error).__name__


# Who is to blame


def _blame(serializer: Serializer, value: object, parts: tuple[str, ...], error: Exception) -> str:
    if len(parts) > 1 and isinstance(value, list | tuple):
        candidates = list(zip(parts, value, strict=False))
    else:
        candidates = [(parts[0], value)]
    for name, part in candidates:
        cause = _refusal(serializer, part)
        if cause is not None:
            path, culprit, cause = _narrow(serializer, name, part, cause)
            kind = type(culprit).__name__
            return f"cannot serialise {path} as {serializer.name}: its type is {kind} ({_because(cause)})"
    return f"cannot serialise {' and '.join(parts)} as {serializer.name}: {_because(error)}"


def _refusal(serializer: Serializer, value: object) -> Exception | None:
    try:
        serializer.dumps(value)
    except Exception as error:  # noqa: BLE001 - a serializer may raise anything, and all of it means no
        return error
    return None


def _narrow(serializer: Serializer, name: str, whole: object, cause: Exception) -> tuple[str, object, Exception]:
    """The path to the smallest part that is refused, that part, and why.

    Where there is no smallest part, because a value contains itself or its end is out of reach, the item of the whole
    that leads there is to blame.
    """
    found = nearest = name, whole, cause
    for depth in range(_BLAME_DEPTH):
        path, value, _ = found
        for step, child in _children(value):
            refusal = _refusal(serializer, child)
            if refusal is not None:
                found = path + step, child, refusal
                break
        else:
            return found
        if depth == 0:
            nearest = found
    return nearest


def _children(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield f"[{glimpse(key)}]", child
    elif isinstance(value, list | tuple):
        for index, child in enumerate(value):
            yield f"[{index}]", child


# The serializers. msgpack, yaml and pickle are imported where they are used: few programs use them.


def _dump_msgpack(value: object) -> bytes:
    import msgpack

    body: bytes = msgpack.packb(value, use_bin_type=True, default=_members)
    # msgpack packs what it then refuses to unpack, keys that are no strings for one. Who sends it is to hear of it.
    msgpack.unpackb(body, raw=False)
    return body


def _members(value: object) -> object:
    members = members_of(value)
    if members is None:
        raise TypeError(f"msgpack has no form for the type {type(value).__qualname__}")
    return members


def _load_msgpack(body: bytes) -> object:
    import msgpack

    # Unpacking makes room for as many items as an array's header claims, up to the length of the body, for each level
    # of nesting; skipping makes none, and finds the items missing.
    reader = msgpack.Unpacker(max_buffer_size=max(len(body), 1))
    reader.feed(body)
    reader.skip()
    value: object = msgpack.unpackb(body, raw=False)
    return value


class _YamlNode(Protocol):
    value: object


def _dump_yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value)


def _load_yaml(body: bytes) -> object:
    import yaml

    loader = yaml.SafeLoader(body)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _yaml_size(node, {})
        value: object = loader.construct_document(node)
        return value
    finally:
        loader.dispose()


def _yaml_size(node: _YamlNode, sizes: dict[int, int | None]) -> int:
    """How many nodes there are when each alias is written out; a few lines of aliases of aliases can mean billions."""
    key = id(node)
    if key in sizes:
        size = sizes[key]
        if size is None:
            raise ValueError("a node contains itself")
        return size
    sizes[key] = None
    total = 1
    if isinstance(node.value, list):
        for item in node.value:
            total += sum(_yaml_size(part, sizes) for part in (item if isinstance(item, tuple) else (item,)))
    if total > _YAML_NODES:
        raise ValueError(f"its aliases stand for more than {_YAML_NODES} nodes")
    sizes[key] = total
    return total


def _dump_pickle(value: object) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=4)


def _load_pickle(body: bytes) -> object:
    import pickle

    value: object = pickle.loads(body)
    return value


def _dump_raw(value: object) -> bytes | str:
    if isinstance(value, bytes | str):
        return value
    raise TypeError("raw takes bytes and text only")


def _load_raw(body: bytes) -> object:
    return body


DEFAULT_SERIALIZERS = Serializers(
    [
        Serializer(
            name="json",
            content_type="application/json",
            content_encoding="utf-8",
            dumps=extended_json.dumps,
            loads=extended_json.loads,
        ),
        Serializer(
            name="msgpack",
            content_type="application/x-msgpack",
            content_encoding="binary",
            dumps=_dump_msgpack,
            loads=_load_msgpack,
        ),
        Serializer(
            name="yaml",
            content_type="application/x-yaml",
            content_encoding="utf-8",
            dumps=_dump_yaml,
            loads=_load_yaml,
        ),
        Serializer(
            name="pickle",
            content_type="application/x-python-serialize",
            content_encoding="binary",
            dumps=_dump_pickle,
            loads=_load_pickle,
        ),
        Serializer(
            name="raw",
            content_type="application/data",
            content_encoding="binary",
            dumps=_dump_raw,
            loads=_load_raw,
        ),
    ]
)
"""json, msgpack, yaml (safe), pickle and raw."""
