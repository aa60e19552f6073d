"""Values to bytes and back, for every serializer, and what hostile bytes come to."""

import json
import subprocess
import sys
import tracemalloc
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import IntEnum, StrEnum
from uuid import UUID

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amqtask.core import extended_json
from amqtask.core.serialize import DEFAULT_SERIALIZERS, Encoded
from amqtask.errors import ConfigError, ContentRefused, Undecodable, Unserializable

encode = DEFAULT_SERIALIZERS.encode
decode = DEFAULT_SERIALIZERS.decode


def read(body: bytes, name: str) -> object:
    return decode(body, DEFAULT_SERIALIZERS.named(name).content_type, None, [name])


def there_and_back(value: object, name: str) -> object:
    encoded = encode(value, name)
    return decode(encoded.body, encoded.content_type, encoded.content_encoding, [name])


def nested(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=6), values, max_size=4),
        max_leaves=12,
    )


plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20)
extended = (
    plain
    | st.integers()
    | st.binary(max_size=20)
    | st.datetimes()
    | st.datetimes(timezones=st.timezones())
    | st.dates()
    | st.times()
    | st.decimals(allow_nan=False)
    | st.uuids()
)


# Round trips


@given(nested(extended))
def test_json_brings_back_what_it_was_given(value: object) -> None:
    assert there_and_back(value, "json") == value


@given(nested(plain | st.binary(max_size=20)))
def test_msgpack_brings_back_what_it_was_given(value: object) -> None:
    assert there_and_back(value, "msgpack") == value


@given(nested(plain | st.binary(max_size=20) | st.datetimes() | st.dates()))
def test_yaml_brings_back_what_it_was_given(value: object) -> None:
    assert there_and_back(value, "yaml") == value


@given(nested(extended | st.complex_numbers(allow_nan=False)))
def test_pickle_brings_back_what_it_was_given(value: object) -> None:
    assert there_and_back(value, "pickle") == value


def test_raw_takes_bytes_and_text_as_they_are() -> None:
    assert encode(b"\xff", "raw") == Encoded(b"\xff", "application/data", "binary")
    assert encode("ü", "raw") == Encoded("ü".encode(), "application/data", "utf-8")
    assert there_and_back(b"\xff", "raw") == b"\xff"
    assert there_and_back("ü", "raw") == "ü"
    with pytest.raises(Unserializable, match="raw takes bytes and text only"):
        encode([1], "raw")


def test_a_body_without_a_content_type_is_raw() -> None:
    assert decode(b"x", None, None, ["raw"]) == b"x"
    with pytest.raises(ContentRefused, match="a body without a content type is not accepted here"):
        decode(b"x", None, None, ["json"])


# JSON as kombu writes it


class Colour(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Point:
    def __json__(self) -> dict[str, int]:
        return {"x": 1}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(3, 4), "03:04:00"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), {"hex": "00000000000000000000000000000001"}),
        (b"abc", "abc"),
        (b"\xff", "/w=="),
    ],
)
def test_extended_types_are_tagged(value: object, text: object) -> None:
    tags = {datetime: "datetime", date: "date", time: "time", Decimal: "decimal", UUID: "uuid", bytes: "bytes"}
    tag = "base64" if value == b"\xff" else tags[type(value)]

    form = json.loads(extended_json.dumps(value))

    assert form == {"__type__": tag, "__value__": text}
    assert extended_json.loads(extended_json.dumps(value)) == value


def test_text_is_escaped_to_ascii_and_separated_as_kombu_does() -> None:
    assert extended_json.dumps({"ü": (1, None)}) == b'{"\\u00fc": [1, null]}'


def test_an_object_may_say_what_stands_for_it() -> None:
    assert extended_json.dumps([Point(), Colour.RED, Number.ONE]) == b'[{"x": 1}, "red", 1]'


def test_nan_and_the_infinities_pass_both_ways() -> None:
    assert extended_json.dumps([float("nan"), float("inf"), float("-inf")]) == b"[NaN, Infinity, -Infinity]"
    value = extended_json.loads(b"[NaN, Infinity, -Infinity]")
    assert isinstance(value, list)
    assert value[0] != value[0]
    assert value[1:] == [float("inf"), float("-inf")]


def test_space_around_a_document_is_no_part_of_it() -> None:
    assert extended_json.loads(b" \n[1]\t\r\n") == [1]


# Who is to blame


class Socket:
    pass


@pytest.mark.parametrize(
    ("value", "parts", "path"),
    [
        ({"when": Socket()}, ("result",), r"serialise result\['when'\] as json: its type is Socket \(JSON has no form"),
        (([{"when": Socket()}], {}), ("args", "kwargs"), r"serialise args\[0\]\['when'\] as json: its type is Socket"),
        (([], {"a": (1, {2})}), ("args", "kwargs"), r"serialise kwargs\['a'\]\[1\] as json: its type is set"),
        (([], {"a": 10**5000}), ("args", "kwargs"), r"serialise kwargs\['a'\] as json: its type is int \(Exceeds"),
        (([{b"k": 1}], {}), ("args", "kwargs"), r"serialise args\[0\] as json: its type is dict \(keys must be str"),
    ],
)
def test_the_part_that_has_no_form_is_named(value: object, parts: tuple[str, ...], path: str) -> None:
    with pytest.raises(Unserializable, match=path):
        encode(value, "json", parts)


def test_a_value_that_contains_itself_is_named_as_a_whole() -> None:
    loop: list[object] = [1]
    loop.append({"again": loop})

    with pytest.raises(Unserializable, match=r"serialise args\[1\] as json: its type is list \(Circular") as caught:
        encode(([0, loop], {}), "json", ("args", "kwargs"))
    assert len(str(caught.value)) < 200


def test_a_value_nested_too_deeply_is_refused_by_json_and_msgpack() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    for name in ("json", "msgpack"):
        with pytest.raises(Unserializable, match=r"cannot serialise value\[0\] as"):
            encode(deep, name)


def test_msgpack_refuses_at_once_what_nobody_could_unpack() -> None:
    with pytest.raises(
        Unserializable, match=r"serialise args\[0\] as msgpack: its type is dict \(int is not allowed for map key"
    ):
        encode([[{1: 2}], {}], "msgpack", ("args", "kwargs"))
    with pytest.raises(Unserializable, match=r"serialise args\[0\] as msgpack: its type is datetime"):
        encode([[datetime(2026, 1, 1)], {}], "msgpack", ("args", "kwargs"))


def test_yaml_writes_plain_types_only() -> None:
    with pytest.raises(Unserializable, match=r"serialise value\[0\] as yaml: its type is Socket"):
        encode([Socket()], "yaml")


# Hostile bytes


@pytest.mark.parametrize(
    ("name", "body", "complaint"),
    [
        ("json", b"", "as json"),
        ("json", b'{"a": ', "as json"),
        ("json", b"[1] [2]", "there is more text after the document"),
        ("json", b'"\xff"', "codec can't decode byte"),
        ("json", b"9" * 5000, "Exceeds the limit"),
        ("json", b"[" * 100_000, "nested too deeply"),
        ("json", b'{"a":' * 100_000, "nested too deeply"),
        ("json", b'{"__type__": "pickle", "__value__": ""}', "tagged with the unknown type 'pickle'"),
        ("json", b'{"__type__": ["x"], "__value__": ""}', "unknown type a list of 1"),
        ("json", b'{"__type__": "uuid", "__value__": {"int": 1}}', "tagged 'uuid' holds None"),
        ("json", b'{"__type__": "decimal", "__value__": [0, [1], 9]}', "tagged 'decimal' holds a list of 3"),
        ("json", b'{"__type__": "datetime", "__value__": "soon"}', "Invalid isoformat"),
        ("json", b'{"__type__": "base64", "__value__": "?"}', "as json"),
        ("json", b'{"__type__": "bytes", "__value__": "\\ud800"}', "surrogates not allowed"),
        ("msgpack", b"", "as msgpack"),
        ("msgpack", b"\xdd\xff\xff\xff\xff", "as msgpack"),
        ("msgpack", b"\xdf\xff\xff\xff\xff", "as msgpack"),
        ("msgpack", b"\xc6\xff\xff\xff\xff", "as msgpack"),
        ("msgpack", b"\x91" * 100_000, "as msgpack"),
        ("msgpack", b"\x01\x02", "as msgpack"),
        ("msgpack", b"\xa1\xff", "codec can't decode byte"),
        ("msgpack", b"\x81\x01\x02", "not allowed for map key"),
        ("yaml", b"[" * 1_500, "nested too deeply"),
        ("yaml", b"!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("yaml", b"&a [*a]", "a node contains itself"),
        ("yaml", b"a: b: c", "mapping values are not allowed here"),
        ("yaml", b"\xff\xfe\x00", "as yaml"),
        ("yaml", b"9999-99-99", "as yaml"),
        ("pickle", b"\x80\x04", "as pickle"),
        ("pickle", b"junk", "as pickle"),
    ],
)
def test_bytes_that_are_no_value_are_refused_with_the_reason(name: str, body: bytes, complaint: str) -> None:
    with pytest.raises(Undecodable, match=complaint) as caught:
        read(body, name)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_array_of_msgpack_that_claims_more_than_it_holds_gets_no_memory() -> None:
    claims = b"\xdd\x00\x00\xff\xff" * 1000 + b"\x00" * 2**17

    tracemalloc.start()
    with pytest.raises(Undecodable, match="as msgpack"):
        read(claims, "msgpack")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # msgpack 1.2 alone takes 77 MiB for these 133 kB; older ones take more.
    assert peak < 2**20


def bomb(open_: str, close: str) -> bytes:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} {open_}" + ", ".join([f"*{before}"] * 9) + close)
    return "\n".join(lines).encode()


def test_aliases_of_aliases_in_yaml_are_refused_before_they_are_written_out() -> None:
    with pytest.raises(Undecodable, match="its aliases stand for more than 1000000 nodes"):
        read(bomb("[", "]"), "yaml")


def test_merged_keys_in_yaml_are_refused_before_they_are_written_out() -> None:
    merges = bomb("{<<: [", "]}").replace(b"[x, x, x, x, x, x, x, x, x]", b"{k: v}", 1)

    with pytest.raises(Undecodable, match="its aliases stand for more than 1000000 nodes"):
        read(merges, "yaml")


def test_a_few_aliases_in_yaml_are_no_harm() -> None:
    assert read(b"a: &a [1]\nb: *a\n", "yaml") == {"a": [1], "b": [1]}


@given(st.binary(max_size=80), st.sampled_from(["json", "msgpack", "yaml", "raw"]))
def test_any_bytes_are_a_value_or_undecodable(body: bytes, name: str) -> None:
    try:
        value = read(body, name)
    except Undecodable:
        return
    assert name != "raw" or value == body


@given(nested(plain), st.integers(0, 1000), st.sampled_from(["json", "msgpack"]))
def test_what_is_cut_off_is_never_taken_for_another_container(value: object, at: int, name: str) -> None:
    body = encode([value], name).body

    with pytest.raises(Undecodable):
        read(body[: at % len(body)], name)


def test_msgpack_reads_what_another_library_packed() -> None:
    packed: bytes = msgpack.packb({"a": [1, b"x", "ü"]}, use_bin_type=True)

    assert read(packed, "msgpack") == {"a": [1, b"x", "ü"]}


# The registry


def test_another_serializer_is_known_to_the_new_registry_only() -> None:
    reversing = DEFAULT_SERIALIZERS.register(
        "rev", "application/x-rev", "utf-8", lambda value: str(value)[::-1], lambda body: body.decode()[::-1]
    )

    encoded = reversing.encode("abc", "rev")

    assert encoded == Encoded(b"cba", "application/x-rev", "utf-8")
    assert reversing.decode(encoded.body, encoded.content_type, encoded.content_encoding, ["rev"]) == "abc"
    assert {serializer.name for serializer in reversing} == {"json", "msgpack", "yaml", "pickle", "raw", "rev"}
    with pytest.raises(ConfigError, match="unknown serializer 'rev'"):
        encode("abc", "rev")
    with pytest.raises(ContentRefused):
        decode(encoded.body, encoded.content_type, encoded.content_encoding, ["rev"])


def test_a_serializer_can_be_replaced_by_name() -> None:
    mine = DEFAULT_SERIALIZERS.register("json", "application/json", "utf-8", lambda value: b"{}", lambda body: "mine")

    assert mine.encode([1], "json").body == b"{}"
    assert mine.decode(b"[1]", "application/json", "utf-8", ["json"]) == "mine"
    assert decode(b"[1]", "application/json", "utf-8", ["json"]) == [1]


def test_another_serializers_own_errors_become_ours() -> None:
    def fail(_: object) -> bytes:
        raise KeyError("inside")

    failing = DEFAULT_SERIALIZERS.register("bad", "application/x-bad", "binary", fail, fail)

    with pytest.raises(Unserializable, match=r"cannot serialise value as bad: its type is int \(.inside.\)"):
        failing.encode(1, "bad")
    with pytest.raises(Undecodable, match="cannot be decoded as bad: 'inside'"):
        failing.decode(b"x", "application/x-bad", "binary", ["bad"])


def test_nothing_is_accepted_by_an_empty_list() -> None:
    with pytest.raises(ContentRefused, match="accepted: nothing"):
        decode(b"[]", "application/json", "utf-8", [])


def test_msgpack_yaml_and_zstandard_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, amqtask.core.protocol, amqtask.core.compress\n"
        "print(sorted({'msgpack', 'yaml', 'zstandard'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
