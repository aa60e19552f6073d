"""Beat as its users run it: several of them, killed, frozen and restarted, with every tick accounted for."""

import json
import os
import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.beats import TICKING, RunningBeat, assert_each_ran_once, crowd, entries, run_dues
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      lo: {}
    tasks:
      default_queue: lo
    beat:
      schedule:
        one: {task: tasks.tick, schedule: 1s, args: [one], catch_up: all, catch_up_limit: 10000}
        two: {task: tasks.tick, schedule: 1s, args: [two], catch_up: all, catch_up_limit: 10000}
    """


@pytest.mark.timeout(400)
def test_each_tick_runs_once_while_leaders_are_killed_twenty_times(scratch: MakeScratch) -> None:
    app = scratch(TICKING, CONFIG)
    gaps = []
    with app.worker("-Q", "lo", "-c", "2") as worker, crowd(app) as beats:
        for _ in range(3):
            beats.start()
        for number in range(20):
            leader = beats.leader()
            # Not at the same moment of its second each time.
            leader.wait_for("tick", 1 + number % 4)
            eventually(lambda: sum(beat.stands_by for beat in beats.beats) >= 2)
            killed = leader.lines[-1]["seen"]
            leader.kill()
            follower = beats.leader()
            gaps.append(follower.said("beat-leads")[-1]["seen"] - killed)
            beats.start()
        beats.leader().wait_for("tick", 2)
        beats.stop()

        for name in ("one", "two"):
            assert len(assert_each_ran_once(worker, name)) >= 20

    # From the last word of the old leader to the first of the new one.
    assert statistics.median(gaps) < 2, gaps


@pytest.mark.timeout(300)
def test_a_frozen_leader_is_followed_and_cannot_send_again_when_it_thaws(scratch: MakeScratch) -> None:
    app = scratch(TICKING, CONFIG)
    gaps = []
    with app.worker("-Q", "lo", "-c", "2") as worker, crowd(app) as beats:
        for _ in range(3):
            beats.start()
        for _ in range(3):
            leader = beats.leader()
            leader.wait_for("tick", 2)
            eventually(lambda: sum(beat.stands_by for beat in beats.beats) == 3)
            frozen_at = leader.lines[-1]["seen"]
            leader.signal(signal.SIGSTOP)
            follower = beats.leader(other_than=leader)
            gaps.append(follower.said("beat-leads")[-1]["seen"] - frozen_at)
            follower.wait_for("tick", len(follower.said("tick")) + 4)
            deposed = len(leader.said("beat-deposed"))
            leader.signal(signal.SIGCONT)
            leader.wait_for("beat-deposed", deposed + 1)
            follower.wait_for("tick", len(follower.said("tick")) + 2)
        beats.stop()

        for name in ("one", "two"):
            assert_each_ran_once(worker, name)

    assert min(gaps) < 5, gaps


@pytest.mark.timeout(200)
def test_a_restart_neither_repeats_nor_skips(scratch: MakeScratch) -> None:
    app = scratch(TICKING, CONFIG)
    with app.worker("-Q", "lo", "-c", "1") as worker, crowd(app) as beats:
        first = beats.start()
        first.wait_for("tick", 4)
        assert first.stop() == 0
        before = entries(app)["one"]["state"]["last_run"]
        second = beats.start()
        second.wait_for("tick", 4)
        second.kill()
        third = beats.start()
        third.wait_for("tick", 4)
        beats.stop()

        for name in ("one", "two"):
            dues = assert_each_ran_once(worker, name)
            assert len(dues) >= 6
        assert entries(app)["one"]["state"]["last_run"] > before


@pytest.mark.timeout(300)
def test_each_tick_runs_once_through_a_restart_of_the_broker(scratch: MakeScratch, node: Node) -> None:
    url = node.fresh_vhost()
    app = scratch(TICKING, CONFIG, url=url)
    with app.worker("-Q", "lo", "-c", "2") as worker, crowd(app) as beats:
        for _ in range(2):
            beats.start()
        beats.leader().wait_for("tick", 3)
        eventually(lambda: all(beat.stands_by for beat in beats.beats))
        said = {beat: len(beat.said("beat-leads")) for beat in beats.beats}
        # A task whose acknowledgement is cut off runs again, whoever has sent it.
        eventually(lambda: node.queue_depth("lo", url.rpartition("/")[2]) == 0)

        node.stop()
        node.start()

        leader = eventually(
            lambda: next((beat for beat in beats.beats if len(beat.said("beat-leads")) > said[beat]), None),
            90,
            beats.output,
        )
        assert leader is not None
        leader.wait_for("tick", len(leader.said("tick")) + 4)
        beats.stop()

        for name in ("one", "two"):
            assert_each_ran_once(worker, name)


TWICE = """
    import sys
    import tasks
    from amqtask.task import TaskOptions

    def send(tick, copy, queue):
        sender = tasks.app.parts.sender
        call = {"task_id": tick, "queue": queue, "headers": {"x-aqt-tick": copy}}
        ticket = sender.prepare(tasks.tick.options, [tick], {}, call, timeout=30)
        tasks.app.publisher.publish(ticket)
    """

TWO_QUEUES = """
    queues:
      lo: {}
      hi: {}
    tasks:
      default_queue: lo
    """


def test_of_two_copies_of_a_tick_workers_run_one_in_each_queue(scratch: MakeScratch) -> None:
    app = scratch(TICKING, TWO_QUEUES)
    many = (
        TWICE
        + """
    for number in range(50):
        for copy in "abc":
            send(f"tick-{number}", copy, "lo")
    for copy in "ab":
        send("tick-0", copy, "hi")
    tasks.tick.delay("last")
    """
    )
    with app.worker("-Q", "lo,hi", "-c", "2", "-n", "one"), app.worker("-Q", "lo,hi", "-c", "2", "-n", "two"):
        app.python(many)
        eventually(lambda: len(app.lines()) >= 52)
    ran = [line.split()[1] for line in app.lines()]

    assert sorted(ran) == sorted([*(f"tick-{number}" for number in range(50)), "tick-0", "last"])


def test_a_tick_whose_worker_died_runs_again(scratch: MakeScratch) -> None:
    tasks = """
    @app.task(bind=True)
    def tick(self, tick):
        note("tick", tick, self.request.delivery_info.redelivered)
        if not self.request.delivery_info.redelivered:
            os.kill(os.getpid(), signal.SIGKILL)
    """
    app = scratch(tasks, TWO_QUEUES)
    with app.worker("-Q", "lo", "-c", "1"):
        app.python(TWICE + '\n    send("mortal", "a", "lo")\n')
        eventually(lambda: len(app.lines()) == 2)

    assert app.lines() == ["tick mortal False", "tick mortal True"]


def test_an_unroutable_tick_is_tried_again_until_it_can_be_sent(scratch: MakeScratch) -> None:
    config = """
    queues:
      lo: {}
    tasks: {default_queue: lo}
    beat:
      schedule:
        one: {task: tasks.tick, schedule: 1s, args: [one], catch_up: all}
    """
    app = scratch(TICKING, config)
    with crowd(app) as beats:
        beat = beats.start("--set", "broker.declare=never")
        refused = beat.wait_for("tick-refused", 2)
        assert "no queue takes a message" in refused[0]["message"]

        assert app.run("topology", "apply").returncode == 0
        with app.worker("-Q", "lo", "-c", "1") as worker:
            beat.wait_for("tick", 3)
            beats.stop()
            assert_each_ran_once(worker, "one")


def test_ten_thousand_idle_entries_cost_no_measurable_cpu(scratch: MakeScratch) -> None:
    config = "queues: {lo: {}}\ntasks: {default_queue: lo}\nbeat:\n  schedule:\n" + "".join(
        f'    entry-{number}: {{task: tasks.tick, schedule: "0 3 29 2 *"}}\n' for number in range(10_000)
    )
    app = scratch(TICKING, config)
    with crowd(app) as beats:
        beat = beats.start()
        beat.wait_for("beat-leads", deadline=110)
        # What it takes to save ten thousand states is over when a second costs next to nothing.
        eventually(lambda: _cost_of_a_second(beat) < 0.03, 60)
        cost = statistics.median(_cost_of_a_second(beat) for _ in range(5))
        beats.stop()

    assert cost < 0.03


def _cost_of_a_second(beat: RunningBeat) -> float:
    """Seconds of CPU that a beat uses in one."""

    def used() -> float:
        fields = Path(f"/proc/{beat.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    time.sleep(1)
    return used() - before


def test_ticks_are_sent_within_twenty_milliseconds_of_their_time(scratch: MakeScratch) -> None:
    app = scratch(TICKING, CONFIG)
    with crowd(app) as beats:
        ticks = beats.start().wait_for("tick", 16)
        beats.stop()

    assert statistics.median(tick["late"] for tick in ticks) < 0.02


def test_entries_are_edited_while_beat_runs(scratch: MakeScratch) -> None:
    app = scratch(TICKING, CONFIG)

    def beat(*arguments: str) -> str:
        done = app.run("beat", "-A", "tasks:app", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with app.worker("-Q", "lo", "-c", "1"), crowd(app) as beats:
        leader = beats.start()
        leader.wait_for("tick", 2)

        beat("add", "three", "tasks.tick", "-s", "1s", "-a", '["three"]')
        eventually(lambda: len(run_dues(app, "three")) >= 2)
        beat("pause", "one")
        leader.wait_for("beat-edited", 2)
        paused = entries(app)["one"]
        beat("edit", "two", "-a", '["deux"]')
        eventually(lambda: run_dues(app, "deux"))
        beat("remove", "three")
        leader.wait_for("beat-edited", 4)
        ran = beat("run-now", "one").strip()
        eventually(lambda: any(ran in line for line in app.lines()))

        now = entries(app)
        assert now["one"]["state"]["count"] == paused["state"]["count"]
        assert (now["one"]["enabled"], now["one"]["origin"]) == (False, "edited")
        assert "three" not in now
        beat("resume", "one")
        leader.wait_for("beat-edited", 5)
        count = entries(app)["one"]["state"]["count"]
        eventually(lambda: entries(app)["one"]["state"]["count"] > count)
        beat("edit", "two", "--undo")
        assert entries(app)["two"]["args"] == ["two"]
        beats.stop()

    missing = app.run("beat", "-A", "tasks:app", "pause", "tow")
    assert missing.returncode == 1
    assert "did you mean 'two'?" in missing.stderr


def test_the_list_shows_last_and_next_run_in_words_and_in_the_entrys_zone(scratch: MakeScratch) -> None:
    config = """
    timezone: Asia/Tokyo
    beat:
      schedule:
        tokyo: {task: tasks.tick, schedule: "0 12 * * *"}
        berlin: {task: tasks.tick, schedule: "30 6 1 1 *", timezone: Europe/Berlin}
        once: {task: tasks.tick, schedule: {at: 2020-01-01T00:00:00}}
    """
    app = scratch(TICKING, config)

    done = app.run("beat", "-A", "tasks:app", "list")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}

    assert "12:00 JST, in " in lines["tokyo"]
    assert "at 12:00 every day" in lines["tokyo"]
    assert "01-01 06:30 CET, in " in lines["berlin"]
    assert lines["once"].split()[-3:] == ["never", "never", "0"]


def test_periodic_tasks_of_code_are_sent(scratch: MakeScratch) -> None:
    tasks = (
        TICKING
        + """
    @app.task(schedule=1)
    def decorated():
        note("decorated")

    @app.on_after_configure
    def set_up(app):
        app.add_periodic_task(1, tick.s("added"), name="added", jitter=0.1)
        app.add_periodic_task("FREQ=SECONDLY", tick.s("delayed").set(countdown=1, queue="lo"), name="delayed")
    """
    )
    app = scratch(tasks, "queues: {lo: {}}\ntasks: {default_queue: lo}\n")
    with app.worker("-Q", "lo", "-c", "1"), crowd(app) as beats:
        beats.start()
        eventually(lambda: len(run_dues(app, "added")) >= 2 and "decorated" in app.lines())
        eventually(lambda: run_dues(app, "delayed"))
        beats.stop()


def test_state_may_be_kept_in_a_file(scratch: MakeScratch, tmp_path: Path) -> None:
    store = f"      store: {{kind: file, url: {tmp_path / 'state.json'}}}\n"
    app = scratch(TICKING, CONFIG.replace("    beat:\n", "    beat:\n" + store))
    with app.worker("-Q", "lo", "-c", "1") as worker, crowd(app) as beats:
        beats.start().wait_for("tick", 4)
        beats.start().wait_for("beat-standing-by")
        beats.leader().kill()
        beats.leader().wait_for("tick", 4)
        beats.stop()
        assert_each_ran_once(worker, "one")

    assert json.loads((tmp_path / "state.json").read_text())["epoch"] == 2


def test_a_beat_that_cannot_ask_its_store_says_so_and_sends_nothing_until_it_can(
    scratch: MakeScratch, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.write_text("a file where the folder should be")
    store = f"      store: {{kind: file, url: {folder / 'beat.json'}}}\n"
    app = scratch(TICKING, CONFIG.replace("    beat:\n", "    beat:\n" + store))
    with crowd(app) as beats:
        beat = beats.start()
        said = beat.wait_for("beat-store-failed", 2)
        assert str(folder) in said[0]["message"]
        assert not beat.said("tick")

        folder.unlink()

        beat.wait_for("tick", 2)
        beats.stop()


def test_a_broker_that_cannot_be_reached_ends_beat_with_a_clear_error(scratch: MakeScratch) -> None:
    app = scratch(TICKING, CONFIG, "amqp://guest:guest@127.0.0.1:1/")

    done = app.run("beat", "-A", "tasks:app", "--set", "broker.start_timeout=1s")

    assert done.returncode == os.EX_UNAVAILABLE
    assert "error: cannot reach" in done.stderr


def test_ticks_are_events_for_those_who_watch(scratch: MakeScratch) -> None:
    app = scratch(TICKING, CONFIG)
    watch = """
        import json
        from amqtask.core.declare import BindQueue, DeclareExchange, DeclareQueue
        from amqtask.drivers.base import QuietSink
        import tasks

        found = []

        class Sink(QuietSink):
            def delivered(self, delivery):
                found.extend(json.loads(delivery.envelope.body))

        options = tasks.app.session_options
        connection = options.driver.connect(options.addresses[0], 30)
        channel = connection.channel(Sink(), confirms=False)
        channel.declare(DeclareExchange(name="aqt.events", type="topic"))
        queue = channel.declare(DeclareQueue(exclusive=True, durable=False)).name
        channel.declare(BindQueue(queue=queue, exchange="aqt.events", routing_key="#"))
        channel.consume(queue, no_ack=True, exclusive=True, arguments={})
        note("watching")
        while not any(event["type"] == "beat-tick" for event in found):
            connection.poll(1)
        for event in found:
            note("event", event["type"], event.get("entry"))
        connection.close()
        """.replace("note(", "tasks.note(")
    watcher = app.start_python(watch)
    try:
        with crowd(app) as beats:
            eventually(lambda: "watching" in app.lines())
            beats.start("--set", "events.enabled=true").wait_for("tick", 2)
            assert watcher.wait(60) == 0
            beats.stop()
    finally:
        watcher.kill()
        watcher.wait()

    assert {"event beat-tick one", "event beat-tick two"} & set(app.lines())
