"""What is written on a dead letter, what is read from it, and what is left of that when it is sent again."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from amqtask.config.load import load_mapping
from amqtask.config.topology import build_topology
from amqtask.core.deadletter import MAX_DETAIL, MAX_TRACEBACK, dead_envelope, read_dead_letter, revived_envelope
from amqtask.core.headers import BROKER_HEADERS, CRASHED_ON, CRASHES
from amqtask.core.message import Delivery, Envelope, HeaderValue
from amqtask.core.settlement import Death
from amqtask.deadletters import Filter, Letter, Place, dead_letter_queues, destination

NOW = datetime(2030, 1, 1, tzinfo=UTC)
texts = st.text(max_size=30)
own_headers = st.dictionaries(
    texts.filter(lambda name: not name.startswith("x-") and name not in ("eta", "expires", "retries", "CC", "BCC")),
    texts,
)


def delivery(headers: dict[str, HeaderValue], **properties: str) -> Delivery:
    return Delivery(Envelope(body=b"b", headers=headers, **properties), 1, 1, "c", "tasks", "a.b", False)  # type: ignore[arg-type]


@given(headers=own_headers, reason=texts, detail=texts, error=texts, traceback=texts, queue=texts)
def test_what_is_written_on_a_dead_letter_can_be_read_and_taken_off_again(
    headers: dict[str, HeaderValue], reason: str, detail: str, error: str, traceback: str, queue: str
) -> None:
    came = delivery({**headers, "x-death": [{"queue": "q"}], "x-delivery-count": 3, CRASHES: 3, CRASHED_ON: {"n": 3}})

    dead = dead_envelope(came, Death(reason, detail, error, traceback), queue=queue, node="n@h", now=NOW)

    letter = read_dead_letter(dead)
    assert (letter.reason, letter.detail, letter.error, letter.traceback) == (reason, detail, error, traceback)
    assert (letter.queue, letter.exchange, letter.routing_key) == (queue, "tasks", "a.b")
    assert (letter.time, letter.node) == (NOW, "n@h")
    assert not dead.headers.keys() & BROKER_HEADERS
    assert revived_envelope(dead).headers == headers
    assert revived_envelope(dead).body == b"b"


def test_a_long_traceback_keeps_its_end_and_a_long_detail_its_beginning() -> None:
    death = Death("failed", "d" * 5000, "E", "start" + "t" * 50_000 + "end")
    letter = read_dead_letter(dead_envelope(delivery({}), death, queue="q", node="n", now=NOW))
    assert len(letter.traceback) == MAX_TRACEBACK
    assert letter.traceback.endswith("tend")
    assert len(letter.detail) == MAX_DETAIL


def test_a_message_sent_again_is_due_now_with_all_its_retries() -> None:
    old: dict[str, HeaderValue] = {"task": "t", "retries": 3, "eta": "2020-01-01", "expires": "2020-01-02", CRASHES: 3}
    revived = revived_envelope(Envelope(body=b"", headers=old, expiration="5", user_id="u"))
    assert revived.headers == {"task": "t", "retries": 0, "eta": None, "expires": None}
    assert (revived.expiration, revived.user_id) == (None, None)


def test_what_the_broker_wrote_is_read_where_we_wrote_nothing() -> None:
    entry: HeaderValue = {"reason": "maxlen", "queue": "work", "exchange": "tasks", "routing-keys": ["k"], "time": NOW}
    letter = read_dead_letter(Envelope(body=b"", headers={"x-death": [entry]}))
    assert (letter.reason, letter.queue, letter.exchange, letter.routing_key) == ("maxlen", "work", "tasks", "k")
    assert letter.time == NOW
    for odd in ([], "x", [1], [{"routing-keys": "k", "reason": 5}]):
        assert read_dead_letter(Envelope(body=b"", headers={"x-death": odd})).reason == "unknown"  # type: ignore[dict-item]


def letter(headers: dict[str, HeaderValue], **properties: str) -> Letter:
    envelope = Envelope(body=b"", headers=headers, **properties)  # type: ignore[arg-type]
    return Letter(where="q.dlq", tag=1, envelope=envelope, death=read_dead_letter(envelope))


def test_a_filter_looks_at_what_it_names() -> None:
    one = letter(
        {"id": "i1", "task": "shop.pay", "x-aqt-death-reason": "failed", "x-aqt-death-error": "OSError"},
    )
    assert Filter("task", "shop.*").takes(one)
    assert not Filter("task", "Shop.*").takes(one)
    assert Filter("error", "OS*").takes(one)
    assert Filter("id", "i?").takes(one)
    assert not Filter("reason", "poison").takes(one)


def test_a_letter_goes_back_to_its_queue_else_by_its_route_else_nowhere() -> None:
    reason: dict[str, HeaderValue] = {"x-aqt-death-reason": "failed"}
    assert destination(letter({**reason, "x-aqt-death-queue": "q"})) == Place("", "q")
    routed: dict[str, HeaderValue] = {"x-aqt-death-exchange": "e", "x-aqt-death-routing-key": "k"}
    assert destination(letter({**reason, **routed})) == Place("e", "k")
    assert destination(letter({})) is None


def test_what_is_no_task_has_the_id_of_its_message() -> None:
    assert letter({}, message_id="m").id == "m"
    assert letter({}).id == ""
    assert letter({"id": 5}, correlation_id="c").id == "c"


def test_dead_letter_queues_are_found_by_their_queues_names_and_behind_exchanges() -> None:
    topology = build_topology(
        load_mapping(
            {
                "exchanges": {"dead": {"type": "fanout"}},
                "queues": {
                    "a": {},
                    "b": {"dead_letter": {"exchange": "dead"}},
                    "graves": {"bind": ["dead"], "dead_letter": {"enabled": False}},
                    "none": {"dead_letter": {"enabled": False}},
                },
            }
        ).config
    )
    assert dead_letter_queues(topology) == ("a.dlq", "graves")
    assert dead_letter_queues(topology, ["b"]) == ("graves",)
    assert dead_letter_queues(topology, ["a.dlq", "elsewhere"]) == ("a.dlq", "elsewhere")
