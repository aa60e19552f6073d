import pytest

from amqtask.devbroker.errors import SoftError
from tests.unit.devbroker.rig import START, Client, broker, client

EIGHT_YEARS = 8 * 365 * 86_400.0


def test_messages_leave_in_the_order_in_which_they_came() -> None:
    it = client()
    it.declare("q")
    for body in "abc":
        it.publish("q", body)

    assert it.drain("q") == ["a", "b", "c"]


def test_a_message_for_nobody_is_gone_and_a_mandatory_one_returned() -> None:
    it = client()
    it.publish("nowhere", "a")
    it.publish("nowhere", "b", mandatory=True)

    assert [message.body for message in it.returns] == [b"b"]


def test_a_consumer_gets_as_much_as_its_prefetch_and_more_for_each_ack() -> None:
    it = client()
    it.declare("q")
    for body in "abcde":
        it.publish("q", body)
    it.consume("q", prefetch=2)
    assert it.bodies == ["a", "b"]

    it.channel.ack(1)
    assert it.bodies == ["a", "b", "c"]

    it.channel.ack(3, multiple=True)
    assert it.bodies == ["a", "b", "c", "d", "e"]


def test_consumers_take_turns() -> None:
    it = client()
    it.declare("q")
    it.consume("q", "one")
    it.consume("q", "two")
    for body in "abcd":
        it.publish("q", body)

    assert [tag for tag, *_ in it.deliveries] == ["one", "two", "one", "two"]


def test_a_consumer_of_higher_priority_gets_everything_until_it_is_full() -> None:
    it = client()
    it.declare("q")
    it.consume("q", "low")
    it.consume("q", "high", prefetch=2, x_priority=5)
    for body in "abc":
        it.publish("q", body)

    assert [tag for tag, *_ in it.deliveries] == ["high", "high", "low"]


def test_a_message_given_back_takes_its_old_place_and_says_so() -> None:
    it = client()
    it.declare("q")
    for body in "abcd":
        it.publish("q", body)
    for _ in range(3):
        it.get("q", no_ack=False)
    it.channel.nack(2, requeue=True)
    it.channel.nack(1, requeue=True)

    assert it.drain("q") == ["a", "b", "d"]
    it.channel.recover()
    got = it.channel.get("q")
    assert got is not None
    assert got[1] is True


def test_a_lost_channel_gives_back_what_it_held_to_the_other_consumers() -> None:
    house = broker()
    one, two = Client(house), Client(house)
    one.declare("q")
    one.consume("q", prefetch=10)
    for body in "abc":
        one.publish("q", body)
    two.consume("q", prefetch=10)

    one.session.close()

    assert two.bodies == ["a", "b", "c"]
    assert all(redelivered for _, _, redelivered, _ in two.deliveries)


def test_eight_years_pass_in_no_time() -> None:
    it = client()
    it.declare("late")
    it.declare(
        "wait", x_message_ttl=int(EIGHT_YEARS * 1000), x_dead_letter_exchange="", x_dead_letter_routing_key="late"
    )
    it.publish("wait", "a")

    it.broker.advance(START + EIGHT_YEARS - 0.001)
    assert it.drain("late") == []

    it.broker.advance(START + EIGHT_YEARS)
    assert it.drain("late") == ["a"]


def test_each_timer_on_the_way_fires_at_its_own_time() -> None:
    it = client()
    it.declare("end")
    it.declare("two", x_message_ttl=2000, x_dead_letter_exchange="", x_dead_letter_routing_key="end")
    it.declare("one", x_message_ttl=1000, x_dead_letter_exchange="", x_dead_letter_routing_key="two")
    it.publish("one", "a")

    it.broker.advance(START + 1000)

    message = it.get("end")
    assert message is not None
    assert [death["time"] for death in message.headers["x-death"]] == [START + 3, START + 1]  # type: ignore[index, union-attr, call-overload]


def test_a_message_expires_only_at_the_head_of_the_queue() -> None:
    it = client()
    it.declare("q")
    it.publish("q", "for ever")
    it.publish("q", "short", expiration="10")
    it.broker.advance(START + 1)
    assert it.channel.vhost.queue("q").message_count == 2

    assert it.get("q") is not None
    assert it.channel.vhost.queue("q").message_count == 0


def test_a_short_message_behind_a_long_one_expires_when_it_becomes_the_head() -> None:
    it = client()
    it.declare("q")
    it.publish("q", "long", expiration="1000")
    it.publish("q", "shorter", expiration="1500")

    it.broker.advance(START + 1.2)
    assert [message.body for message in it.broker.messages("q")] == [b"shorter"]
    it.broker.advance(START + 1.5)
    assert it.broker.messages("q") == []


def test_the_shorter_of_two_times_to_live_counts() -> None:
    it = client()
    it.declare("q", x_message_ttl=1000)
    it.publish("q", "a", expiration="5000")
    it.publish("q", "b", expiration="500")

    it.broker.advance(START + 1)
    assert it.drain("q") == []


def test_a_message_given_back_keeps_its_expiry() -> None:
    it = client()
    it.declare("q", x_message_ttl=1000)
    it.publish("q", "a")
    it.get("q", no_ack=False)
    it.broker.advance(START + 5)
    it.channel.nack(1, requeue=True)

    assert it.drain("q") == []


def test_a_time_to_live_of_zero_means_now_or_never() -> None:
    it = client()
    it.declare("q", x_message_ttl=0)
    it.publish("q", "lost")
    it.consume("q")
    it.publish("q", "caught")

    assert it.bodies == ["caught"]


def test_a_full_queue_drops_its_head() -> None:
    it = client()
    it.declare("dead")
    it.declare("q", x_max_length=2, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    for body in "abc":
        it.publish("q", body)

    assert it.drain("q") == ["b", "c"]
    assert it.drain("dead") == ["a"]


def test_a_queue_limited_in_bytes_drops_until_it_fits() -> None:
    it = client()
    it.declare("q", x_max_length_bytes=6)
    for body in ("aaa", "bbb", "cccc"):
        it.publish("q", body)

    assert it.drain("q") == ["cccc"]


@pytest.mark.parametrize(("overflow", "dead"), [("reject-publish", []), ("reject-publish-dlx", ["c"])])
def test_a_full_queue_refuses_and_the_publisher_hears_of_it(overflow: str, dead: list[str]) -> None:
    it = client()
    it.declare("dead")
    it.declare("q", x_max_length=2, x_overflow=overflow, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    it.channel.select_confirms()
    for body in "abc":
        it.publish("q", body)
    it.broker.flush()

    assert it.confirms == [(2, True, True), (3, False, False)]
    assert it.drain("q") == ["a", "b"]
    assert it.drain("dead") == dead


def test_a_priority_queue_gives_the_highest_first_and_clips_at_its_maximum() -> None:
    it = client()
    it.declare("q", x_max_priority=3)
    for body, priority in (("none", None), ("one", 1), ("nine", 9), ("three", 3), ("one again", 1)):
        it.publish("q", body, priority=priority)

    assert it.drain("q") == ["nine", "three", "one", "one again", "none"]


def test_a_message_that_overtakes_by_priority_expires_when_the_queue_is_looked_at() -> None:
    it = client()
    it.declare("q", x_max_priority=3)
    it.publish("q", "slow")
    it.publish("q", "fast", priority=3, expiration="10")
    it.broker.advance(START + 1)
    assert it.channel.vhost.queue("q").message_count == 2

    assert it.drain("q") == ["slow"]


def test_an_auto_delete_queue_goes_with_its_last_consumer() -> None:
    it = client()
    it.declare("q", auto_delete=True)
    it.consume("q", "one")
    it.consume("q", "two")
    it.channel.cancel("one")
    assert "q" in it.channel.vhost.queues

    it.channel.cancel("two")
    assert "q" not in it.channel.vhost.queues


def test_an_exclusive_queue_is_for_its_connection_and_goes_with_it() -> None:
    house = broker()
    owner, other = Client(house), Client(house)
    owner.declare("q", exclusive=True)

    with pytest.raises(SoftError) as refusal:
        other.consume("q")
    assert refusal.value.code == 405

    owner.session.close()
    assert "q" not in other.channel.vhost.queues


def test_a_queue_that_nobody_uses_expires() -> None:
    it = client()
    it.declare("q", x_expires=1000)
    it.broker.advance(START + 0.9)
    it.get("q")
    it.broker.advance(START + 1.8)
    assert "q" in it.channel.vhost.queues

    it.broker.advance(START + 1.9)
    assert "q" not in it.channel.vhost.queues


def test_a_queue_with_a_consumer_does_not_expire() -> None:
    it = client()
    it.declare("q", x_expires=1000)
    it.consume("q")
    it.broker.advance(START + 100)
    assert "q" in it.channel.vhost.queues

    it.channel.cancel("c")
    it.broker.advance(START + 101)
    assert "q" not in it.channel.vhost.queues


def test_the_consumers_of_a_deleted_queue_are_told_and_their_late_acks_do_no_harm() -> None:
    it = client()
    it.declare("q")
    it.publish("q", "a")
    it.consume("q")
    it.channel.vhost.delete_queue("q")

    assert it.cancels == ["c"]
    it.channel.ack(1)
    assert it.broker.context.memory == 0


def test_an_exclusive_consumer_wants_to_be_alone() -> None:
    it = client()
    it.declare("q")
    it.channel.consume("q", tag="one", exclusive=True)

    with pytest.raises(SoftError) as refusal:
        it.channel.consume("q", tag="two")
    assert refusal.value.code == 403


def test_only_one_consumer_is_active_and_another_takes_over() -> None:
    it = client()
    it.declare("q", x_single_active_consumer=True)
    it.consume("q", "one", prefetch=1)
    it.consume("q", "two", prefetch=1)
    for body in "abc":
        it.publish("q", body)
    assert [tag for tag, *_ in it.deliveries] == ["one"]

    it.channel.cancel("one")
    assert [tag for tag, *_ in it.deliveries] == ["one", "two"]


def test_memory_is_counted_and_given_back() -> None:
    it = client()
    it.declare("q")
    for _ in range(10):
        it.publish("q", "x" * 1000)
    assert it.broker.context.memory > 10_000

    it.drain("q")
    assert it.broker.context.memory == 0


def test_a_purge_takes_what_is_ready_and_leaves_what_is_held() -> None:
    it = client()
    it.declare("q")
    for body in "abc":
        it.publish("q", body)
    it.get("q", no_ack=False)

    assert it.channel.vhost.queue("q").purge() == 2
    it.channel.nack(1, requeue=True)
    assert it.drain("q") == ["a"]
