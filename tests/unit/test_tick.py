"""Which copy of a tick runs."""

from amqtask.core.tick import Claims


def test_the_copy_that_claims_first_runs():
    claims = Claims()

    assert claims.record("tick", "lo", "a")
    assert not claims.record("tick", "lo", "b")


def test_a_copy_that_is_delivered_again_may_run_again():
    claims = Claims()
    claims.record("tick", "lo", "a")
    claims.record("tick", "lo", "b")

    assert claims.record("tick", "lo", "a")


def test_each_queue_runs_a_tick_that_goes_to_several():
    claims = Claims()
    claims.record("tick", "lo", "a")

    assert claims.record("tick", "audit", "a")


def test_the_oldest_claims_are_forgotten():
    claims = Claims(limit=3)
    for number in range(5):
        claims.record(f"tick-{number}", "lo", "a")

    assert len(claims) == 3
    assert not claims.record("tick-4", "lo", "b")
    assert claims.record("tick-0", "lo", "b")
