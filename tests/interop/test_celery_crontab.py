"""Our crontab is due when Celery's is."""

from datetime import UTC, datetime

from celery import Celery
from celery.schedules import crontab as celery_crontab
from hypothesis import given, settings
from hypothesis import strategies as st

from amqtask.core.crontab import crontab
from amqtask.errors import InvalidSchedule

APP = Celery(set_as_current=False)
APP.conf.timezone = "UTC"


def part(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    value = st.one_of(number, st.sampled_from(names)) if names else number
    span = st.builds("{}-{}".format, value, value)
    step = st.integers(1, high)
    return st.one_of(value, span, st.just("*"), st.builds("{}/{}".format, span, step), st.builds("*/{}".format, step))


def field(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    return st.one_of(st.just("*"), st.lists(part(low, high, names), min_size=1, max_size=3).map(",".join))


FIELDS = st.fixed_dictionaries(
    {
        "minute": field(0, 59),
        "hour": field(0, 23),
        "day_of_week": field(0, 6, ("mon", "tuesday", "Wed", "sun")),
        "day_of_month": field(1, 31),
        "month_of_year": field(1, 12, ("jan", "May", "december")),
    }
)


@settings(max_examples=300, deadline=None)
@given(fields=FIELDS, now=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))
def test_in_utc_it_is_next_due_when_celerys_is(fields, now):
    try:
        theirs = celery_crontab(**fields, nowfun=lambda: now, app=APP)
    except ValueError:
        try:
            crontab(**fields)
        except InvalidSchedule:
            return
        raise
    due = crontab(**fields).next_after(now, UTC)

    assert due == now + theirs.remaining_estimate(now)
