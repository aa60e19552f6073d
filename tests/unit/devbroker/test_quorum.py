import pytest

from amqtask.devbroker.errors import SoftError
from amqtask.devbroker.message import Message
from tests.unit.devbroker.rig import START, Client, broker, client

COUNTS = ("x-delivery-count", "x-acquired-count")


def counts(message: Message) -> dict[str, object]:
    return {name: value for name, value in message.headers.items() if name in COUNTS}


def returned(it: Client, cause: str, times: int) -> list[dict[str, object]]:
    """The counters of a message's deliveries when it comes back by `cause` each time."""
    it.declare("q", x_queue_type="quorum")
    it.publish("q", "a")
    seen = []
    for _ in range(times):
        other = Client(it.broker)
        got = other.channel.get("q")
        assert got is not None
        seen.append(counts(got[2]))
        match cause:
            case "nack":
                other.channel.nack(got[0], requeue=True)
            case "reject":
                other.channel.reject(got[0], requeue=True)
            case _:
                other.session.close()
    return seen


D, A = COUNTS


@pytest.mark.parametrize(
    ("emulate", "cause", "expected"),
    [
        ("3.10", "nack", [{D: 0}, {D: 1}, {D: 2}]),
        ("3.10", "lost", [{D: 0}, {D: 1}, {D: 2}]),
        ("3.13", "reject", [{}, {D: 1}, {D: 2}]),
        ("4.0", "nack", [{}, {D: 1}, {D: 2}]),
        ("4.3", "nack", [{}, {A: 1}, {A: 2}]),
        ("4.3", "reject", [{}, {A: 1, D: 1}, {A: 2, D: 2}]),
        ("4.3", "lost", [{}, {A: 1, D: 1}, {A: 2, D: 2}]),
    ],
)
def test_deliveries_are_counted_as_each_version_counts(
    emulate: str, cause: str, expected: list[dict[str, object]]
) -> None:
    assert returned(client(emulate), cause, 3) == expected


@pytest.mark.parametrize(
    ("emulate", "cause", "deliveries"),
    [("3.10", "nack", 40), ("4.0", "nack", 21), ("4.3", "nack", 40), ("4.3", "reject", 21), ("4.3", "lost", 21)],
)
def test_the_default_delivery_limit_ends_a_message_after_as_many_deliveries_as_measured(
    emulate: str, cause: str, deliveries: int
) -> None:
    it = client(emulate)
    it.declare("q", x_queue_type="quorum")
    it.publish("q", "a")
    seen = 0
    while seen < 40:
        other = Client(it.broker)
        got = other.channel.get("q")
        if got is None:
            break
        seen += 1
        if cause == "lost":
            other.session.close()
        elif cause == "nack":
            other.channel.nack(got[0], requeue=True)
        else:
            other.channel.reject(got[0], requeue=True)

    assert seen == deliveries


def test_before_4_0_a_negative_limit_destroys_a_message_at_its_first_return() -> None:
    for emulate, left in (("3.10", []), ("4.0", ["a"])):
        it = client(emulate)
        it.declare("q", x_queue_type="quorum", x_delivery_limit=-1)
        it.publish("q", "a")
        it.get("q", no_ack=False)
        it.channel.nack(1, requeue=True)
        assert it.drain("q") == left


def test_a_message_over_its_limit_is_dead_lettered_with_the_reason() -> None:
    it = client("4.0")
    it.declare("dead")
    it.declare(
        "q", x_queue_type="quorum", x_delivery_limit=1, x_dead_letter_exchange="", x_dead_letter_routing_key="dead"
    )
    it.publish("q", "a")
    for _ in range(2):
        got = it.channel.get("q")
        assert got is not None
        it.channel.reject(got[0], requeue=True)

    message = it.get("dead")
    assert message is not None
    assert message.headers["x-first-death-reason"] == "delivery_limit"


@pytest.mark.parametrize(
    ("emulate", "reason", "target", "redelivered", "counted"),
    [
        ("3.10", "rejected", "quorum", False, {D: 0}),
        ("4.0", "rejected", "quorum", True, {D: 1}),
        ("4.0", "rejected", "classic", False, {}),
        ("4.0", "delivery_limit", "quorum", False, {}),
        ("4.3", "rejected", "quorum", True, {A: 1, D: 1}),
        ("4.3", "rejected", "classic", True, {}),
        ("4.3", "delivery_limit", "quorum", True, {A: 1, D: 1}),
        ("4.3", "maxlen", "quorum", False, {}),
    ],
)
def test_a_dead_letter_of_a_quorum_queue_arrives_as_measured(
    emulate: str, reason: str, target: str, redelivered: bool, counted: dict[str, int]
) -> None:
    it = client(emulate)
    it.declare("dead", x_queue_type=target)
    limits = {"delivery_limit": {"x_delivery_limit": 0}, "maxlen": {"x_max_length": 0}}.get(reason, {})
    it.declare("q", x_queue_type="quorum", x_dead_letter_exchange="", x_dead_letter_routing_key="dead", **limits)
    it.publish("q", "a")
    if reason != "maxlen":
        it.get("q", no_ack=False)
        it.channel.reject(1, requeue=reason == "delivery_limit")

    got = it.channel.get("dead")
    assert got is not None
    assert (got[1], counts(got[2])) == (redelivered, counted)


@pytest.mark.parametrize(("emulate", "redelivered"), [("3.13", False), ("4.0", True), ("4.3", False)])
def test_what_a_nack_has_dead_lettered_arrives_as_measured(emulate: str, redelivered: bool) -> None:
    it = client(emulate)
    it.declare("dead", x_queue_type="quorum")
    it.declare("q", x_queue_type="quorum", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    it.publish("q", "a")
    it.get("q", no_ack=False)
    it.channel.nack(1, requeue=False)

    got = it.channel.get("dead")
    assert got is not None
    assert got[1] is redelivered


@pytest.mark.parametrize(("emulate", "redelivered"), [("3.13", False), ("4.0", True), ("4.3", True)])
def test_what_a_lost_channel_sent_over_its_limit_arrives_as_measured(emulate: str, redelivered: bool) -> None:
    house = broker(emulate)
    one, two = Client(house), Client(house)
    one.declare("dead", x_queue_type="quorum")
    one.declare(
        "q", x_queue_type="quorum", x_delivery_limit=0, x_dead_letter_exchange="", x_dead_letter_routing_key="dead"
    )
    one.publish("q", "a")
    one.get("q", no_ack=False)
    one.session.close()

    got = two.channel.get("dead")
    assert got is not None
    assert got[1] is redelivered


def test_the_failures_of_a_dead_letter_go_on_in_its_next_quorum_queue() -> None:
    it = client("4.3")
    it.declare("dead", x_queue_type="quorum")
    it.declare("q", x_queue_type="quorum", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    it.publish("q", "a")
    it.get("q", no_ack=False)
    it.channel.reject(1, requeue=False)
    it.get("dead", no_ack=False)
    it.channel.reject(2, requeue=True)

    message = it.get("dead")
    assert message is not None
    assert counts(message) == {A: 1, D: 2}


@pytest.mark.parametrize(
    ("emulate", "arguments", "order"),
    [
        ("3.10", {}, ["1", "2", "3", "0"]),
        ("3.10", {"x_delivery_limit": 9}, ["0", "1", "2", "3"]),
        ("4.0", {}, ["0", "1", "2", "3"]),
        ("4.3", {}, ["0", "1", "2", "3"]),
    ],
)
def test_a_returned_message_goes_where_the_version_puts_it(
    emulate: str, arguments: dict[str, int], order: list[str]
) -> None:
    it = client(emulate)
    it.declare("q", x_queue_type="quorum", **arguments)
    for body in "0123":
        it.publish("q", body)
    it.get("q", no_ack=False)
    it.channel.nack(1, requeue=True)

    assert it.drain("q") == order


@pytest.mark.parametrize("emulate", ["3.10", "4.3"])
def test_what_a_lost_channel_held_goes_to_the_front_even_where_a_nack_sends_it_to_the_back(emulate: str) -> None:
    house = broker(emulate)
    one, two = Client(house), Client(house)
    one.declare("q", x_queue_type="quorum")
    for body in "012":
        one.publish("q", body)
    one.get("q", no_ack=False)
    one.session.close()

    assert two.drain("q") == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("kind", "no_ack", "left"), [("classic", False, 0), ("classic", True, 0), ("quorum", False, 1), ("quorum", True, 0)]
)
def test_a_get_counts_what_expires_because_of_it_as_measured(kind: str, no_ack: bool, left: int) -> None:
    it = client()
    it.declare("q", x_queue_type=kind)
    it.publish("q", "a")
    it.publish("q", "b", expiration="1")
    it.broker.advance(START + 1)

    got = it.channel.get("q", no_ack=no_ack)
    assert got is not None
    assert got[3] == left
    assert it.channel.vhost.queue("q").message_count == 0


@pytest.mark.parametrize(("emulate", "left"), [("4.0", ["high", "low"]), ("4.3", ["high"])])
def test_a_message_expires_at_the_head_of_its_priority_in_4_3(emulate: str, left: list[str]) -> None:
    it = client(emulate)
    it.declare("q", x_queue_type="quorum")
    it.publish("q", "high", priority=9)
    it.publish("q", "low", priority=1, expiration="10")
    it.publish("q", "lower", priority=0, expiration="20")
    it.broker.advance(START + 0.01)
    assert [message.body.decode() for message in it.broker.messages("q")][:2] == [*left, "lower"][:2]

    it.broker.advance(START + 1)
    assert [message.body.decode() for message in it.broker.messages("q")][:2] == left


@pytest.mark.parametrize(("kind", "redelivered"), [("classic", False), ("quorum", True)])
def test_a_full_quorum_queue_hands_out_what_comes_back_before_it_drops(kind: str, redelivered: bool) -> None:
    it = client()
    it.declare("q", x_queue_type=kind, x_max_length=0)
    it.consume("q", prefetch=1)
    it.publish("q", "a")
    it.channel.nack(1, requeue=True)

    assert [again for _, _, again, _ in it.deliveries] == [False, True][: 1 + redelivered]


PRIORITIES = (0, 1, 4, None, 5, 9, 10, 31, 255)


@pytest.mark.parametrize(
    ("emulate", "expected"),
    [
        ("3.10", ["0", "1", "4", "None", "5", "9", "10", "31", "255"]),
        ("4.0", ["5", "9", "0", "10", "31", "1", "255", "4", "None"]),
        ("4.3", ["31", "255", "10", "9", "5", "4", "None", "1", "0"]),
    ],
)
def test_priorities_are_those_of_the_version(emulate: str, expected: list[str]) -> None:
    it = client(emulate)
    it.declare("q", x_queue_type="quorum")
    for priority in PRIORITIES:
        it.publish("q", str(priority), priority=priority)

    assert it.drain("q") == expected


def test_a_full_quorum_queue_lets_one_more_in_before_it_refuses() -> None:
    it = client()
    it.declare("q", x_queue_type="quorum", x_max_length=2, x_overflow="reject-publish")
    it.channel.select_confirms()
    for body in "abcd":
        it.publish("q", body)
    it.broker.flush()

    assert it.confirms == [(3, True, True), (4, False, False)]


@pytest.mark.parametrize(("emulate", "active"), [("3.13", "a"), ("4.0", "b")])
def test_the_active_consumer_is_chosen_by_priority_from_4_0(emulate: str, active: str) -> None:
    it = client(emulate)
    it.declare("q", x_queue_type="quorum", x_single_active_consumer=True)
    it.consume("q", "a", prefetch=1)
    it.consume("q", "b", prefetch=1, x_priority=5)
    it.publish("q", "x")

    assert [tag for tag, *_ in it.deliveries] == [active]


def test_a_higher_consumer_waits_until_the_active_one_holds_nothing() -> None:
    it = client()
    it.declare("q", x_queue_type="quorum", x_single_active_consumer=True)
    it.consume("q", "a", prefetch=2)
    it.publish("q", "1")
    it.consume("q", "b", prefetch=2, x_priority=5)
    it.publish("q", "2")
    assert [tag for tag, *_ in it.deliveries] == ["a"]

    it.channel.ack(1)
    assert [tag for tag, *_ in it.deliveries] == ["a", "b"]


def test_32_dead_letters_that_nobody_takes_stop_all_others_until_they_are_retried() -> None:
    it = client()
    it.exchange("dlx")
    it.declare("good")
    it.bind("good", "dlx", "good")
    it.declare("q", x_queue_type="quorum", x_overflow="reject-publish", x_dead_letter_strategy="at-least-once",
               x_dead_letter_exchange="dlx", x_message_ttl=1000)  # fmt: skip
    it.exchange("in", "fanout")
    it.bind("q", "in")
    for number in range(40):
        it.publish("bad", str(number), exchange="in")
    it.publish("good", "rescued", exchange="in")
    it.broker.advance(START + 2)
    assert it.drain("good") == []

    it.declare("late")
    it.bind("late", "dlx", "bad")
    it.broker.advance(START + 179)
    assert it.drain("good") == []
    it.broker.advance(START + 182)
    assert it.drain("good") == ["rescued"]
    assert len(it.drain("late")) == 40
    assert it.broker.context.memory == 0


def test_eight_years_with_a_dead_letter_that_nobody_takes_are_no_million_retries() -> None:
    it = client()
    it.exchange("dlx")
    it.declare(
        "q",
        x_queue_type="quorum",
        x_overflow="reject-publish",
        x_dead_letter_strategy="at-least-once",
        x_dead_letter_exchange="dlx",
        x_message_ttl=1000,
    )
    it.publish("q", "a")
    it.broker.advance(START + 8 * 365 * 86_400)
    it.declare("end")
    it.bind("end", "dlx", "q")
    it.broker.advance(it.broker.now + 180)

    assert it.drain("end") == ["a"]


@pytest.mark.parametrize(
    ("kind", "cause", "gaps"),
    [
        ("all", "nack", [1, 1, 1]),
        ("all", "reject", [1, 2, 3]),
        ("failed", "nack", [0, 0, 0]),
        ("failed", "reject", [1, 2, 3]),
        ("returned", "nack", [1, 1, 1]),
        ("returned", "reject", [0, 0, 0]),
    ],
)
def test_a_delayed_retry_waits_as_measured(kind: str, cause: str, gaps: list[int]) -> None:
    it = client("4.3")
    it.declare(
        "q", x_queue_type="quorum", x_delayed_retry_type=kind, x_delayed_retry_min=1000, x_delayed_retry_max=3000
    )
    it.publish("q", "a")
    seen = []
    for _ in gaps:
        got = it.channel.get("q")
        assert got is not None
        (it.channel.nack if cause == "nack" else it.channel.reject)(got[0], requeue=True)
        before = it.broker.now
        if not it.broker.messages("q"):
            it.broker.advance(it.broker.next_deadline() or before)
        seen.append(round(it.broker.now - before))

    assert seen == gaps


def test_before_4_3_the_arguments_of_a_delayed_retry_mean_nothing() -> None:
    it = client("4.0")
    it.declare("q", x_queue_type="quorum", x_delayed_retry_type="all", x_delayed_retry_min=1000)
    it.publish("q", "a")
    it.get("q", no_ack=False)
    it.channel.nack(1, requeue=True)

    assert it.drain("q") == ["a"]


def test_a_delivery_that_is_not_acknowledged_closes_the_channel_before_4_3() -> None:
    it = client("4.0", consumer_timeout=90.0)
    it.declare("q", x_queue_type="quorum")
    it.publish("q", "a")
    it.consume("q")
    it.broker.advance(START + 89)
    assert it.errors == []

    it.broker.advance(START + 180)
    assert [error.code for error in it.errors] == [406]
    assert [message.body for message in it.broker.messages("q")] == [b"a"]


def test_before_4_3_it_is_looked_for_once_a_minute() -> None:
    it = client("4.0", consumer_timeout=90.0)
    it.declare("q")
    it.broker.advance(1_000_000_020.0)
    it.publish("q", "a")
    it.consume("q")

    it.broker.advance(1_000_000_139.0)
    assert it.errors == []
    it.broker.advance(1_000_000_140.0)
    assert [error.code for error in it.errors] == [406]


def test_in_4_3_it_cancels_the_consumer_and_a_late_ack_does_no_harm() -> None:
    it = client("4.3")
    it.declare("q", x_queue_type="quorum", x_consumer_timeout=4000)
    it.publish("q", "a")
    it.consume("q")
    it.broker.advance(START + 3.99)
    assert it.cancels == []

    it.broker.advance(START + 4)
    assert it.cancels == ["c"]
    assert len(it.broker.messages("q")) == 1
    it.channel.ack(1)
    assert it.drain("q") == ["a"]


def test_a_consumer_may_ask_for_its_own_timeout_in_4_3() -> None:
    it = client("4.3")
    it.declare("q", x_queue_type="quorum", x_consumer_timeout=4000)
    it.publish("q", "a")
    it.consume("q", x_consumer_timeout=60_000)
    it.broker.advance(START + 59)

    assert it.cancels == []


def test_a_session_that_is_lost_counts_all_that_it_held() -> None:
    house = broker("4.0")
    one, two = Client(house), Client(house)
    one.declare("q", x_queue_type="quorum")
    for body in "ab":
        one.publish("q", body)
    one.consume("q", prefetch=2)
    one.session.close()
    two.consume("q", prefetch=2)

    assert [counts(message) for *_, message in two.deliveries] == [{D: 1}, {D: 1}]


def test_a_quorum_queue_with_a_single_active_consumer_gives_nothing_to_basic_get() -> None:
    it = client()
    it.declare("q", x_queue_type="quorum", x_single_active_consumer=True)
    it.publish("q", "a")

    with pytest.raises(SoftError) as refused:
        it.get("q")
    assert refused.value.code == 405


def test_who_wants_a_quorum_queue_for_itself_shares_it() -> None:
    it = client()
    queue = it.declare("q", x_queue_type="quorum")
    it.channel.consume("q", tag="one", exclusive=True)
    it.channel.consume("q", tag="two", exclusive=True)

    assert len(queue.consumers) == 2
