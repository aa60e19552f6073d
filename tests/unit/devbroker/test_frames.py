import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp import frame as oracle

from amqtask.devbroker import frames
from amqtask.devbroker.errors import HardError

# pamqp warns of basic.recover-async, which clients may still send.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

METHODS = list(commands.INDEX_MAPPING.values())
WITHOUT_TABLES = [kind for kind in METHODS if all(kind.amqp_type(name) != "table" for name in kind.attributes())]
CONSTANT = {"ticket", "out_of_band", "known_hosts", "capabilities", "cluster_id", "channel_id", "insist"}
VALUES = {
    "octet": 7,
    "short": 300,
    "long": 70_000,
    "longlong": 2**40,
    "shortstr": "name",
    "longstr": "text",
    "bit": True,
}


def an(kind: type[frames.Method]) -> frames.Method:
    """A method with every field set to something."""
    made = kind()
    for number, name in enumerate(made.attributes()):
        of_type = made.amqp_type(name)
        if name not in CONSTANT:
            setattr(made, name, {"key": number} if of_type == "table" else VALUES[of_type])
    return made


def fields(method: frames.Method) -> dict[str, object]:
    return {name: getattr(method, name) for name in method.attributes()}


@pytest.mark.parametrize("kind", WITHOUT_TABLES, ids=lambda kind: kind.name)
def test_a_method_is_written_as_pamqp_writes_it(kind: type[frames.Method]) -> None:
    assert frames.encode_method(an(kind), 5) == oracle.marshal(an(kind), 5)


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.name)
def test_a_method_that_pamqp_wrote_is_read(kind: type[frames.Method]) -> None:
    payload = oracle.marshal(an(kind), 5)[7:-1]

    read = frames.decode_method(payload)
    assert type(read) is kind
    assert fields(read) == fields(an(kind))


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.name)
def test_pamqp_reads_what_is_written_here(kind: type[frames.Method]) -> None:
    size, channel, read = oracle.unmarshal(frames.encode_method(an(kind), 5))

    assert channel == 5
    assert isinstance(read, kind)
    assert fields(read) == fields(an(kind))
    assert size == len(frames.encode_method(an(kind), 5))


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.name)
def test_a_method_cut_short_or_too_long_is_refused(kind: type[frames.Method]) -> None:
    payload = oracle.marshal(an(kind), 5)[7:-1]

    for wrong in [payload[:cut] for cut in range(len(payload))] + [payload + b"\0"]:
        with pytest.raises(HardError) as refusal:
            frames.decode_method(wrong)
        assert refusal.value.code in (502, 503)


def test_a_frame_cut_in_two_waits_for_the_rest() -> None:
    frame = frames.encode_method(commands.Channel.Open(), 3)

    for cut in range(len(frame)):
        assert frames.read(frame[:cut], 0, 0) is None
    assert frames.read(frame + b"\1", 0, 0) == (frames.METHOD, 3, frame[7:-1], len(frame))


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x01\x00\x00\x00\x00\x00\x01x\xcd", id="another end"),
        pytest.param(b"\x04\x00\x00\x00\x00\x00\x01x\xce", id="unknown type"),
        pytest.param(b"\x01\x00\x00\x00\x01\x00\x00", id="too large"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="another protocol"),
    ],
)
def test_what_is_no_frame_is_a_frame_error(frame: bytes) -> None:
    with pytest.raises(HardError) as refusal:
        frames.read(frame, 0, 4096)

    assert refusal.value.code == 501


@given(st.binary(max_size=64))
def test_any_payload_is_a_method_or_refused(payload: bytes) -> None:
    with contextlib.suppress(HardError):
        frames.decode_method(payload)


def test_an_unknown_method_is_refused_with_its_number() -> None:
    with pytest.raises(HardError, match=r"60\.99"):
        frames.decode_method(b"\x00\x3c\x00\x63")
