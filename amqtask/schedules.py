"""Schedules of periodic tasks, for `app.add_periodic_task` and `@app.task(schedule=…)`.

    from amqtask.schedules import crontab, solar

A number or a timedelta is an interval, a text a cron line or a recurrence rule; these are for the rest.
"""

from datetime import datetime, timedelta

from amqtask.core.crontab import Crontab, crontab
from amqtask.core.rrule import RRule
from amqtask.core.schedule import Interval, Once, Schedule
from amqtask.core.solar import Solar

__all__ = ["Crontab", "Interval", "Once", "RRule", "Schedule", "Solar", "at", "crontab", "every", "rrule", "solar"]


def every(seconds: float | timedelta, *, aligned: bool = False) -> Interval:
    """Every so often; `aligned` by the clock: `every(3600, aligned=True)` is at each full hour of the zone."""
    length = seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)
    return Interval(every=length, aligned=aligned)


def at(time: datetime) -> Once:
    """Once; a time without a zone is the wall clock's in the entry's zone."""
    return Once(at=time)


def solar(event: str, latitude: float, longitude: float) -> Solar:
    """At an event of the sun, with Celery's names for it (`amqtask.core.solar.EVENTS`)."""
    return Solar(event=event, latitude=latitude, longitude=longitude)


def rrule(rule: str, start: datetime | None = None) -> RRule:
    """By a recurrence rule of iCalendar: `rrule("FREQ=MONTHLY;BYDAY=-1FR")`."""
    return RRule(rule=rule, start=start)
