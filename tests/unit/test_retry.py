"""When and how late a failed task is tried again."""

from hypothesis import given
from hypothesis import strategies as st

from amqtask.core.backoff import Backoff
from amqtask.core.retry import RetryPolicy

chances = st.floats(0, 1, exclude_max=True)


def test_only_the_errors_that_are_named_are_retried_by_themselves() -> None:
    policy = RetryPolicy(autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,))
    assert policy.wants(ConnectionError())
    assert not policy.wants(FileNotFoundError())
    assert not policy.wants(ValueError())


def test_as_many_retries_as_allowed_and_none_more() -> None:
    assert [RetryPolicy(max_retries=2).exhausted(n) for n in range(4)] == [False, False, True, True]
    assert not RetryPolicy(max_retries=None).exhausted(10**6)


def test_without_a_back_off_the_delay_is_the_default_one() -> None:
    assert RetryPolicy(default_delay=7).delay(5, 0.5) == 7


def test_a_back_off_without_jitter_doubles_up_to_its_maximum() -> None:
    policy = RetryPolicy(backoff=2, backoff_max=30, jitter=False)
    assert [policy.delay(n, 0.3) for n in range(6)] == [2, 4, 8, 16, 30, 30]


@given(retries=st.integers(0, 10_000), chance=chances, backoff=st.floats(0.1, 100), most=st.floats(0.1, 1000))
def test_jitter_only_ever_shortens(retries: int, chance: float, backoff: float, most: float) -> None:
    plain = RetryPolicy(backoff=backoff, backoff_max=most, jitter=False).delay(retries, chance)
    jittered = RetryPolicy(backoff=backoff, backoff_max=most, jitter=True).delay(retries, chance)
    assert 0 <= jittered <= plain <= most


@given(attempt=st.integers(1, 10_000), chance=chances)
def test_reconnecting_waits_between_nothing_and_the_maximum(attempt: int, chance: float) -> None:
    backoff = Backoff(initial=0.5, maximum=30, jitter=0.5)
    assert 0.25 <= backoff.delay(attempt, chance) <= 30
