from tests.unit.devbroker.rig import START, Client, client


def publisher() -> Client:
    it = client()
    it.declare("q")
    it.channel.select_confirms()
    return it


def test_a_refused_publish_is_nacked_and_not_in_the_queue() -> None:
    it = publisher()
    it.broker.faults.refuse_publishes = 1
    it.publish("q", "a")
    it.publish("q", "b")
    it.broker.flush()

    assert it.confirms == [(1, False, False), (2, False, True)]
    assert it.drain("q") == ["b"]


def test_a_dropped_confirm_is_never_told_not_even_by_a_later_one() -> None:
    it = publisher()
    it.broker.faults.drop_confirms = 1
    for body in "abc":
        it.publish("q", body)
    it.broker.flush()

    assert it.confirms == [(2, False, True), (3, False, True)]
    assert it.drain("q") == ["a", "b", "c"]


def test_a_delayed_confirm_comes_when_its_time_has_come() -> None:
    it = publisher()
    it.broker.faults.confirm_delay = 5.0
    it.publish("q", "a")
    it.broker.advance(START + 4)
    it.broker.flush()
    assert it.confirms == []

    it.broker.advance(START + 5)
    it.broker.flush()
    assert it.confirms == [(1, False, True)]


def test_a_duplicated_message_is_there_twice() -> None:
    it = publisher()
    it.broker.faults.duplicate_deliveries = 1
    it.publish("q", "a")
    it.publish("q", "b")

    assert it.drain("q") == ["a", "a", "b"]


def test_a_fault_for_ever_stays_until_it_is_cleared() -> None:
    it = publisher()
    it.broker.faults.refuse_publishes = -1
    for body in "abc":
        it.publish("q", body)
    it.broker.faults.clear()
    it.publish("q", "d")

    assert it.drain("q") == ["d"]


def test_a_consumer_timeout_that_a_test_has_set_holds_for_new_channels() -> None:
    it = client("3.10")
    it.broker.faults.consumer_timeout = 3.0
    it.channel = it.session.open_channel(2, it)
    it.declare("q")
    it.publish("q", "a")
    it.consume("q")
    it.broker.advance(START + 121)

    assert [error.code for error in it.errors] == [406]
