"""The section `beat`: what it becomes, and where its mistakes are said to be."""

import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from amqtask.config.beat import parse_schedule
from amqtask.config.load import load_config
from amqtask.core.crontab import crontab
from amqtask.core.entry import CatchUp, ScheduleEntry
from amqtask.core.schedule import Interval, Once
from amqtask.core.solar import Solar
from amqtask.errors import ConfigError, InvalidSchedule


def load(tmp_path: Path, text: str):
    file = tmp_path / "amqtask.yaml"
    file.write_text(textwrap.dedent(text))
    return load_config(file, env={}).config.beat


def mistakes(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def test_an_entry_is_what_its_keys_say(tmp_path):
    beat = load(
        tmp_path,
        """
        beat:
          schedule:
            report:
              task: shop.report
              schedule: "0 3 * * mon-fri"
              args: [1, [2]]
              kwargs: {pages: all}
              options: {queue: lo, priority: 3, time_limit: 10m}
              enabled: false
              timezone: Europe/Berlin
              catch_up: all
              catch_up_limit: 5
              jitter: 30s
              expires: 1h
        """,
    )

    assert beat.entries() == {
        "report": ScheduleEntry(
            name="report",
            task="shop.report",
            schedule=crontab(minute=0, hour=3, day_of_week="mon-fri"),
            args=(1, [2]),
            kwargs={"pages": "all"},
            options={"queue": "lo", "priority": 3, "time_limit": 600.0},
            enabled=False,
            timezone="Europe/Berlin",
            catch_up=CatchUp.ALL,
            catch_up_limit=5,
            jitter=30.0,
            expires=3600.0,
        )
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("30", Interval(every=timedelta(seconds=30))),
        ("0.5", Interval(every=timedelta(seconds=0.5))),
        ("1h30m", Interval(every=timedelta(minutes=90))),
        ("{every: 1d, aligned: true}", Interval(every=timedelta(days=1), aligned=True)),
        ('"*/5 * * * *"', crontab(minute="*/5")),
        ("'@daily'", crontab(minute=0, hour=0)),
        ("{crontab: {minute: 0, hour: [3, 15]}}", crontab(minute=0, hour="3,15")),
        ("{solar: sunset, latitude: 52.5, longitude: 13}", Solar(event="sunset", latitude=52.5, longitude=13)),
        ("{at: 2026-12-24T18:00:00}", Once(at=datetime(2026, 12, 24, 18))),
        ("{at: 2026-12-24T18:00:00Z}", Once(at=datetime(2026, 12, 24, 18, tzinfo=UTC))),
    ],
)
def test_a_schedule_is_written_in_many_ways(tmp_path, given, meant):
    beat = load(tmp_path, f"beat: {{schedule: {{a: {{task: t, schedule: {given}}}}}}}")

    assert beat.entries()["a"].schedule == meant


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{task: t, schedule: '* * * *'}", "amqtask.yaml:4:28: beat.schedule.a.schedule: crontab '* * * *': five"),
        ("{task: t, schedule: 0}", "amqtask.yaml:4:28: beat.schedule.a.schedule: an interval must be more than 0"),
        ("{task: t, schedule: [1]}", "amqtask.yaml:4:28: beat.schedule.a.schedule: a list is no schedule"),
        ("{task: t, schedule: {every: 1, at: 2}}", "amqtask.yaml:4:28: beat.schedule.a.schedule: schedule: one of"),
        ("{task: t, schedule: 'FREQ=DAILY;BYHOUR=99'}", "amqtask.yaml:4:28: beat.schedule.a.schedule: rrule: "),
        ("{task: t, schedule: {solar: noon, latitude: 0, longitude: 0}}", "no event 'noon'"),
        ("{task: t, schedule: 1, timezone: Berlin}", "amqtask.yaml:4:41: beat.schedule.a.timezone: there is no time"),
        ("{task: t, schedule: 1, catchup: all}", 'unknown key "catchup" in beat.schedule.a (did you mean "catch_up"?)'),
        ("{task: t, schedule: 1, options: {que: a}}", 'unknown key "que" in beat.schedule.a.options'),
        ("{task: t, schedule: 1, expires: 0}", "beat.schedule.a.expires: must be more than 0"),
        ("{task: '', schedule: 1}", "beat.schedule.a.task"),
        ("{schedule: 1}", 'beat.schedule.a: "task" is missing'),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path, entry, problem):
    (found,) = mistakes(tmp_path, f"beat:\n  schedule:\n    # it\n    a: {entry}\n")

    assert problem in found


def test_all_mistakes_are_told_at_once(tmp_path):
    found = mistakes(
        tmp_path,
        """
        beat:
          schedule:
            a: {task: t, schedule: "x"}
            b: {task: t, schedule: 0, jitter: -1}
        """,
    )

    assert len(found) == 3


def test_a_duration_in_code_is_seconds():
    assert parse_schedule("90s") == Interval(every=timedelta(seconds=90))
    with pytest.raises(InvalidSchedule):
        parse_schedule("soon")
