import pytest

from amqtask.devbroker.deadletter import is_cycle
from amqtask.devbroker.queue import DeathReason
from tests.unit.devbroker.rig import START, Client, client


def death(it: Client, queue: str = "dead") -> dict[str, object]:
    message = it.get(queue)
    assert message is not None
    headers = message.headers
    deaths = headers["x-death"]
    assert isinstance(deaths, list)
    return headers


def mortal(emulate: str = "4.3", **arguments: int | str) -> Client:
    it = client(emulate)
    it.declare("dead")
    given: dict[str, int | str] = {"x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead"} | arguments
    it.declare("q", **given)
    return it


def test_a_rejected_message_says_where_why_and_when_it_died() -> None:
    it = mortal()
    it.publish("q", "a", headers={"mine": 1})
    it.get("q", no_ack=False)
    it.broker.advance(START + 7)
    it.channel.reject(1, requeue=False)

    assert death(it) == {
        "mine": 1,
        "x-first-death-reason": "rejected",
        "x-first-death-queue": "q",
        "x-first-death-exchange": "",
        "x-last-death-reason": "rejected",
        "x-last-death-queue": "q",
        "x-last-death-exchange": "",
        "x-death": [
            {"count": 1, "reason": "rejected", "queue": "q", "time": START + 7, "exchange": "", "routing-keys": ["q"]},
        ],
    }


def test_the_last_death_is_told_from_3_13() -> None:
    it = mortal("3.10")
    it.publish("q", "a")
    it.get("q", no_ack=False)
    it.channel.reject(1, requeue=False)

    assert not [name for name in death(it) if name.startswith("x-last")]


def test_an_expiration_is_taken_off_and_remembered() -> None:
    it = mortal()
    it.publish("q", "a", expiration="500", message_id="m")
    it.broker.advance(START + 1)

    message = it.get("dead")
    assert message is not None
    assert message.named["message_id"] == "m"
    assert "expiration" not in message.named
    deaths = message.headers["x-death"]
    assert isinstance(deaths, list)
    assert isinstance(deaths[0], dict)
    assert deaths[0]["original-expiration"] == "500"


def test_the_second_death_in_a_queue_is_counted_and_the_latest_stands_first() -> None:
    it = client()
    it.declare("a", x_dead_letter_exchange="", x_dead_letter_routing_key="b")
    it.declare("b", x_dead_letter_exchange="", x_dead_letter_routing_key="a")
    it.publish("a", "x")
    for queue in "aba":
        got = it.channel.get(queue)
        assert got is not None
        it.channel.reject(got[0], requeue=False)

    deaths = death(it, "b")["x-death"]
    assert isinstance(deaths, list)
    assert [(one["queue"], one["count"]) for one in deaths] == [("a", 2), ("b", 1)]


def test_a_message_that_only_expires_in_a_circle_is_dropped() -> None:
    it = client()
    it.declare("a", x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="b")
    it.declare("b", x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="a")
    it.publish("a", "x")

    it.broker.advance(START + 1.5)
    assert len(it.broker.messages("b")) == 1
    it.broker.advance(START + 10)
    assert it.broker.messages("a") == it.broker.messages("b") == []
    assert it.broker.context.memory == 0


def test_a_retry_queue_goes_round_for_ever_since_somebody_rejects() -> None:
    it = client()
    it.declare("work", x_dead_letter_exchange="", x_dead_letter_routing_key="wait")
    it.declare("wait", x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="work")
    it.publish("work", "x")
    for turn in range(10):
        got = it.channel.get("work")
        assert got is not None, turn
        it.channel.reject(got[0], requeue=False)
        it.broker.advance(it.broker.now + 1)

    assert len(it.broker.messages("work")) == 1


def test_up_to_3_13_a_republished_x_death_is_believed_and_the_message_lost() -> None:
    for emulate, left in (("3.13", 0), ("4.0", 1)):
        it = client(emulate)
        it.declare("end")
        it.declare("wait", x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="end")
        it.publish("wait", "x")
        it.broker.advance(START + 1)
        first = it.get("end")
        assert first is not None
        # As if "end" had died before too: what a client copies from one trip to the next.
        forged = {"x-death": [{"queue": "end", "reason": "expired", "count": 1}]}
        it.publish("wait", "x", headers=forged)
        it.broker.advance(START + 2)

        assert len(it.drain("end")) == left, emulate


def test_without_a_routing_key_of_its_own_the_carbon_copies_count_again() -> None:
    it = client()
    it.exchange("dlx")
    for name in ("one", "two", "three"):
        it.declare(name)
        it.bind(name, "dlx", name)
    it.declare("q", x_dead_letter_exchange="dlx")
    it.exchange("in", "fanout")
    it.bind("q", "in")
    it.publish("one", "x", exchange="in", headers={"CC": ["two"], "BCC": ["three"]})
    it.get("q", no_ack=False)
    it.channel.reject(1, requeue=False)

    for name in ("one", "two", "three"):
        message = it.get(name)
        assert message is not None, name
        assert "BCC" not in message.headers
        deaths = message.headers["x-death"]
        assert isinstance(deaths, list)
        assert isinstance(deaths[0], dict)
        assert deaths[0]["routing-keys"] == ["one", "two"]


@pytest.mark.parametrize(("emulate", "kept"), [("3.10", False), ("4.0", True)])
def test_with_a_routing_key_of_its_own_the_carbon_copies_are_not_routed_again(emulate: str, kept: bool) -> None:
    it = mortal(emulate)
    it.declare("other")
    it.publish("q", "a", headers={"CC": ["other"]})
    it.drain("other")
    it.get("q", no_ack=False)
    it.channel.reject(2, requeue=False)

    message = it.get("dead")
    assert message is not None
    assert ("CC" in message.headers) is kept
    assert it.drain("other") == []


def test_a_missing_dead_letter_exchange_means_that_the_message_is_gone() -> None:
    it = client()
    it.declare("q", x_dead_letter_exchange="nowhere")
    it.publish("q", "a")
    it.get("q", no_ack=False)
    it.channel.reject(1, requeue=False)

    assert it.broker.context.memory == 0


def test_a_long_chain_of_queues_that_overflow_into_each_other_is_no_recursion() -> None:
    it = client()
    for number in range(250):
        it.declare(f"q{number}", x_max_length=0, x_dead_letter_exchange="", x_dead_letter_routing_key=f"q{number + 1}")
    it.declare("q250")
    it.publish("q0", "a")

    assert it.channel.vhost.queue("q250").message_count == 1


def test_who_rejects_a_message_gets_the_next_one_before_the_letter_is_back() -> None:
    it = client()
    it.declare("q", x_max_length=1, x_dead_letter_exchange="", x_dead_letter_routing_key="q")
    it.publish("q", "a")
    it.consume("q", prefetch=1)
    it.publish("q", "b")
    it.channel.reject(1, requeue=False)

    assert it.bodies == ["a", "b"]
    assert [message.body for message in it.broker.messages("q")] == [b"a"]


def test_a_copy_of_a_message_comes_before_the_dead_letter_of_another_copy() -> None:
    it = client()
    it.declare("small", x_max_length=0, x_dead_letter_exchange="", x_dead_letter_routing_key="big")
    it.declare("big")
    it.publish("small", "a", headers={"CC": ["big"]})

    assert ["x-death" in message.headers for message in it.broker.messages("big")] == [False, True]


@pytest.mark.parametrize(
    ("deaths", "reason", "expected"),
    [
        ([], DeathReason.EXPIRED, False),
        ([("q", "expired")], DeathReason.EXPIRED, True),
        ([("q", "expired")], DeathReason.REJECTED, False),
        ([("other", "rejected"), ("q", "expired")], DeathReason.EXPIRED, False),
        ([("q", "rejected")], DeathReason.MAXLEN, False),
        ([("other", "maxlen"), ("q", "expired")], DeathReason.DELIVERY_LIMIT, True),
    ],
)
def test_what_is_a_circle(deaths: list[tuple[str, str]], reason: DeathReason, expected: bool) -> None:
    told = [{"queue": queue, "reason": why} for queue, why in deaths]

    assert is_cycle("q", {"x-death": list(told)}, reason) is expected
