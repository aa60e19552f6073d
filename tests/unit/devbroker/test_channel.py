import pytest

from amqtask.devbroker.errors import HardError, Refusal, SoftError
from amqtask.devbroker.exchange import Binding
from amqtask.devbroker.replyto import PSEUDO_QUEUE
from tests.unit.devbroker.rig import START, Client, broker, client


def test_a_transaction_publishes_and_settles_only_when_it_is_committed() -> None:
    it = client()
    it.declare("q")
    it.publish("q", "old")
    it.get("q", no_ack=False)
    it.channel.select_transaction()
    it.publish("q", "new")
    it.publish("nowhere", "returned", mandatory=True)
    it.channel.ack(1)
    assert it.channel.vhost.queue("q").message_count == 0
    assert it.returns == []

    it.channel.commit()
    assert [message.body for message in it.returns] == [b"returned"]
    assert it.drain("q") == ["new"]


def test_a_rollback_forgets_the_publishes_and_holds_the_deliveries_again() -> None:
    it = client()
    it.declare("q")
    it.publish("q", "old")
    it.get("q", no_ack=False)
    it.channel.select_transaction()
    it.publish("q", "new")
    it.channel.ack(1)
    it.channel.rollback()

    it.channel.ack(1)
    it.channel.commit()
    assert it.drain("q") == []


def test_a_commit_of_which_a_queue_refuses_a_part_closes_the_channel() -> None:
    it = client()
    it.declare("full", x_max_length=0, x_overflow="reject-publish")
    it.declare("q")
    it.channel.select_transaction()
    it.publish("full", "a")
    it.publish("q", "b")

    with pytest.raises(SoftError) as refused:
        it.channel.commit()
    assert refused.value.code == 406
    assert it.channel.vhost.queue("q").message_count == 1


def test_a_channel_that_ends_within_a_transaction_gives_back_what_it_had_settled() -> None:
    house = broker()
    one, two = Client(house), Client(house)
    one.declare("q")
    one.publish("q", "a")
    one.get("q", no_ack=False)
    one.channel.select_transaction()
    one.channel.ack(1)
    one.channel.close()

    assert two.drain("q") == ["a"]


@pytest.mark.parametrize("first", ["select_confirms", "select_transaction"])
def test_confirms_and_transactions_exclude_each_other(first: str) -> None:
    it = client()
    second = {"select_confirms": "select_transaction", "select_transaction": "select_confirms"}[first]
    getattr(it.channel, first)()

    with pytest.raises(SoftError) as refusal:
        getattr(it.channel, second)()
    assert refusal.value.code == 406


def test_confirms_go_out_together_and_only_after_the_flush() -> None:
    it = client()
    it.declare("q")
    it.channel.select_confirms()
    for body in "abc":
        it.publish("q", body)
    assert it.confirms == []

    it.broker.flush()
    assert it.confirms == [(3, True, True)]


def test_a_return_comes_before_its_confirm() -> None:
    it = client()
    it.channel.select_confirms()
    it.publish("nowhere", "a", mandatory=True)
    assert len(it.returns) == 1
    assert it.confirms == []

    it.broker.flush()
    assert it.confirms == [(1, False, True)]


def test_an_ack_of_several_needs_a_tag_that_is_held() -> None:
    it = client()
    it.declare("q")
    for body in "abc":
        it.publish("q", body)
        it.get("q", no_ack=False)
    it.channel.ack(2)

    with pytest.raises(SoftError, match="unknown delivery tag 2"):
        it.channel.ack(2, multiple=True)
    it.channel.ack(3, multiple=True)
    it.channel.ack(0, multiple=True)


def test_a_window_for_the_whole_channel_counts_all_its_consumers_before_4_3() -> None:
    for emulate, expected in (("4.0", 2), ("4.3", 4)):
        it = client(emulate)
        it.channel.qos(2, is_global=True)
        for name in ("one", "two"):
            it.declare(name)
            for body in "ab":
                it.publish(name, body)
            it.channel.start(it.channel.consume(name, tag=name))
        assert len(it.deliveries) == expected, emulate
        it.channel.ack(1)
        assert len(it.deliveries) == min(4, expected + 1)


def test_a_quorum_queue_takes_no_consumer_with_a_window_for_the_channel() -> None:
    it = client("4.0")
    it.declare("q", x_queue_type="quorum")
    it.channel.qos(2, is_global=True)

    with pytest.raises(HardError) as refusal:
        it.channel.consume("q")
    assert refusal.value.code == 540


def test_carbon_copies_are_routed_and_blind_ones_taken_off() -> None:
    it = client()
    for name in ("one", "two", "three"):
        it.declare(name)
    it.publish("one", "a", headers={"CC": ["two"], "BCC": ["three"], "n": 1})

    for name in ("one", "two", "three"):
        message = it.get(name)
        assert message is not None
        assert message.headers == {"CC": ["two"], "n": 1}


@pytest.mark.parametrize(
    "named",
    [
        {"expiration": "abc"},
        {"expiration": "-1"},
        {"expiration": "1.5"},
        {"expiration": "315360000001"},
        {"user_id": "somebody"},
        {"headers": {"CC": "k"}},
        {"reply_to": PSEUDO_QUEUE},
    ],
)
def test_what_a_broker_does_not_take(named: dict[str, str]) -> None:
    it = client()

    with pytest.raises(SoftError) as refusal:
        it.publish("q", "a", **named)
    assert refusal.value.code == 406


def test_publishing_to_an_exchange_that_is_not_there_or_internal_is_refused() -> None:
    it = client()
    with pytest.raises(SoftError) as missing:
        it.publish("k", exchange="no")
    with pytest.raises(SoftError) as internal:
        it.publish("k", exchange="amq.rabbitmq.trace")

    assert (missing.value.code, internal.value.code) == (404, 403)


def test_a_route_that_was_learned_for_a_dead_letter_does_not_open_an_internal_exchange() -> None:
    it = client()
    it.declare("q", x_message_ttl=0, x_dead_letter_exchange="amq.rabbitmq.trace", x_dead_letter_routing_key="k")
    it.publish("q", "a")

    with pytest.raises(SoftError) as refusal:
        it.publish("k", exchange="amq.rabbitmq.trace")
    assert refusal.value.code == 403


def test_a_reply_goes_straight_to_who_asked() -> None:
    house = broker()
    asker, worker = Client(house), Client(house)
    asker.declare("work")
    asker.channel.consume(PSEUDO_QUEUE, no_ack=True)
    asker.publish("work", "question", reply_to=PSEUDO_QUEUE)
    question = worker.get("work")
    assert question is not None
    address = question.named["reply_to"]
    assert isinstance(address, str)
    worker.publish(address, "answer")

    assert asker.bodies == ["answer"]


@pytest.mark.parametrize(("emulate", "returned"), [("4.0", 1), ("4.3", 0)])
def test_a_mandatory_reply_is_returned_before_4_2_even_though_it_arrives(emulate: str, returned: int) -> None:
    house = broker(emulate)
    asker, worker = Client(house), Client(house)
    asker.channel.consume(PSEUDO_QUEUE, no_ack=True)
    worker.publish(asker.channel.reply_address(), "answer", mandatory=True)

    assert asker.bodies == ["answer"]
    assert len(worker.returns) == returned


def test_a_reply_consumer_cannot_acknowledge_and_there_is_only_one() -> None:
    it = client()
    with pytest.raises(SoftError, match="cannot acknowledge"):
        it.channel.consume(PSEUDO_QUEUE)
    it.channel.consume(PSEUDO_QUEUE, no_ack=True)
    with pytest.raises(SoftError, match="already set"):
        it.channel.consume(PSEUDO_QUEUE, no_ack=True)


def test_a_message_goes_from_exchange_to_exchange_once_even_in_a_circle() -> None:
    it = client()
    for name in ("x", "y"):
        it.exchange(name, "fanout")
    for source, destination in (("x", "y"), ("y", "x")):
        it.channel.vhost.bind(Binding(source=source, destination=("exchange", destination), routing_key=""))
    it.declare("q")
    it.bind("q", "x")
    it.bind("q", "y")
    it.publish("k", "a", exchange="x")

    assert it.drain("q") == ["a"]


def test_an_alternate_exchange_gets_what_matches_nothing() -> None:
    it = client()
    it.exchange("spare", "fanout")
    it.exchange("x", "direct", alternate_exchange="spare")
    it.declare("q")
    it.declare("rest")
    it.bind("q", "x", "k")
    it.bind("rest", "spare")
    it.publish("k", "a", exchange="x")
    it.publish("other", "b", exchange="x", mandatory=True)

    assert (it.drain("q"), it.drain("rest"), it.returns) == (["a"], ["b"], [])


def test_a_client_that_does_not_read_gets_no_more_until_it_does() -> None:
    it = client()
    it.declare("q")
    it.consume("q", no_ack=True)
    it.session.congest()
    for body in "ab":
        it.publish("q", body)
    assert it.bodies == []

    it.session.relieve()
    assert it.bodies == ["a", "b"]


def test_a_tag_can_be_used_by_one_consumer_only() -> None:
    it = client()
    it.declare("q")
    it.consume("q", "c")

    with pytest.raises(HardError) as refusal:
        it.channel.consume("q", tag="c")
    assert refusal.value.code == 530


def test_the_empty_name_means_the_queue_declared_last() -> None:
    it = client()
    with pytest.raises(SoftError) as refusal:
        it.channel.get("")
    assert refusal.value.code == 404

    it.declare("q")
    it.channel.last_queue = "q"
    it.publish("q", "a")
    assert it.drain("") == ["a"]


def test_an_alarm_reaches_who_publishes_and_nobody_else() -> None:
    house = broker()
    publisher, consumer = Client(house), Client(house)
    consumer.declare("q")
    publisher.publish("q", "a")
    house.block("low on disk")
    assert (publisher.alarms, consumer.alarms) == (["low on disk"], [])

    consumer.publish("q", "b")
    assert consumer.alarms == ["low on disk"]

    house.unblock()
    assert (publisher.alarms, consumer.alarms) == (["low on disk", None], ["low on disk", None])


def test_too_much_in_the_queues_blocks_publishers_until_it_is_consumed() -> None:
    it = client(memory_watermark=100_000)
    it.declare("q")
    for _ in range(20):
        it.publish("q", "x" * 10_000)
    it.broker.flush()
    assert it.alarms == ["low on memory"]

    it.drain("q")
    it.broker.flush()
    assert it.alarms == ["low on memory", None]


def test_the_broker_can_close_a_channel_or_a_connection_with_a_code() -> None:
    it = client()
    it.broker.close_channel(it.session.number, 1, SoftError(404, "gone"))
    it.broker.close_connection(it.session.number, HardError(320, "maintenance"))

    assert [error.code for error in it.errors] == [404, 320]
    assert it.broker.sessions == {}


def test_a_refusal_says_its_code_by_name() -> None:
    assert str(Refusal(404, "no queue")) == "NOT_FOUND - no queue"


def test_time_does_not_go_back() -> None:
    it = client()
    it.broker.advance(START + 10)
    it.broker.advance(START)

    assert it.broker.now == START + 10


@pytest.mark.parametrize(("emulate", "tags"), [("3.10", [1, 1, 1]), ("4.0", [1, 1, 1]), ("4.3", [1, 2, 3])])
def test_direct_replies_are_numbered_from_4_3_on(emulate: str, tags: list[int]) -> None:
    it = client(emulate)
    it.consume("amq.rabbitmq.reply-to", no_ack=True)
    it.declare("q")
    it.publish("q", reply_to="amq.rabbitmq.reply-to")
    request = it.get("q")
    assert request is not None
    before = len(it.deliveries)
    for _ in tags:
        it.publish(str(request.named["reply_to"]))

    numbered = [tag for _, tag, _, _ in it.deliveries[before:]]
    assert [tag - numbered[0] + 1 for tag in numbered] == tags
