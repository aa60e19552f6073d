"""A chord's body is sent once, whoever dies while its members end."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {}
    routes:
      - {task: "*", queue: work}
    """

TASKS = """
    from amqtask import chord

    @app.task
    def member(number, seconds=0.0):
        time.sleep(seconds)
        note("member", number)
        return number

    @app.task(bind=True)
    def body(self, numbers, name):
        note("body", name, len(numbers), sum(numbers))
    """


def bodies(app: Scratch) -> list[str]:
    return [line for line in app.lines() if line.startswith("body")]


def test_a_chord_of_a_thousand_members_on_two_nodes_has_one_body(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    with app.worker("-c", "2", "-n", "one"), app.worker("-c", "2", "-n", "two"):
        app.python("import tasks; tasks.chord([tasks.member.s(n) for n in range(1000)])(tasks.body.s('big'))")
        eventually(lambda: bodies(app), 120, lambda: str(len(app.lines())))
        # All at the same instant, and many of them.
        app.python(
            """
            import tasks
            for name in range(40):
                tasks.chord([tasks.member.s(1), tasks.member.s(2)])(tasks.body.s(str(name)))
            """
        )
        eventually(lambda: len(bodies(app)) >= 41, 120, lambda: str(bodies(app)))

    assert sorted(bodies(app)) == sorted(["body big 1000 499500", *(f"body {n} 2 3" for n in range(40))])


def test_processes_that_are_killed_inside_a_chord_neither_lose_nor_double_its_body(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    chords = 60
    # A process that was killed comes back at once: that it comes later and later is not what is tested.
    at_once = ("--set", "worker.restart.initial=10ms", "--set", "worker.restart.max=100ms")
    with ExitStack() as workers:
        nodes = [workers.enter_context(app.worker("-c", "2", "-n", name, *at_once)) for name in ("one", "two")]
        sender = app.start_python(
            f"""
            import tasks
            for name in range({chords}):
                tasks.chord([tasks.member.s(n, 0.01) for n in range(4)])(tasks.body.s(str(name)))
            """
        )
        kills = 0
        until = time.monotonic() + 150
        while len(bodies(app)) < chords and time.monotonic() < until:
            for node in nodes:
                children = node.children()
                # Not all at once, and no faster than they come back.
                if children and kills < 24:
                    try:
                        os.kill(children[kills % len(children)], signal.SIGKILL)
                        kills += 1
                    except ProcessLookupError:
                        continue
                before = len(app.lines())
                eventually(
                    lambda before=before: len(app.lines()) > before or len(bodies(app)) >= chords,  # type: ignore[misc]
                    60,
                    lambda: f"{len(bodies(app))} bodies\\n" + "\\n".join(node.output() for node in nodes),
                )
        sender.wait(60)
        assert len(bodies(app)) >= chords, "\\n".join(node.output()[-4000:] for node in nodes)

    assert kills >= 10
    assert sorted(bodies(app)) == sorted(f"body {n} 4 6" for n in range(chords))


LINKED = """
    from amqtask import chain, chord

    @app.task
    def step(number, last):
        note("step", last)
        time.sleep(0.3)
        return number + 1

    @app.task
    def body(numbers):
        note("body", len(numbers))
    """


def test_a_broker_that_restarts_inside_chains_and_chords_loses_neither(scratch: MakeScratch, node: Node) -> None:
    app = scratch(LINKED, CONFIG, url=node.fresh_vhost())
    with app.worker("-c", "2") as worker:
        app.python(
            """
            from tasks import body, chain, chord, step
            chain(step.s(0, 1), *[step.s(n) for n in range(2, 20)], body.map([[0] * 3]).set(immutable=True)).delay()
            chord([chain(step.s(0, 101), step.s(102), step.s(103)) for _ in range(4)], body.s()).delay()
            """
        )
        eventually(lambda: len(app.lines()) >= 5, 60, lambda: worker.output())
        node.restart()
        eventually(
            lambda: {"body 3", "body 4"} <= set(bodies(app)), 180, lambda: f"{app.lines()}\n{worker.output()[-6000:]}"
        )

    assert sorted(bodies(app)) == ["body 3", "body 4"]
    assert {f"step {n}" for n in range(1, 20)} <= set(app.lines())


def test_of_two_copies_of_a_body_one_runs(scratch: MakeScratch) -> None:
    # As when a worker dies after it sent the body and before it deleted the chord's queue.
    app = scratch(TASKS, CONFIG)
    app.python(
        """
        from tasks import app, body
        from amqtask.core.plan import Family
        from amqtask.core.tick import COPY
        from amqtask.worker.starter import Starter

        starter = Starter(sender=app.parts.sender, options=app.options_of, clock=app.clock, inline=None)
        for copy in ("a", "b"):
            for ticket in starter.tickets(
                body.s("x"), ([1, 2],), family=Family(parent_id="g"), reply_to=None, seed="g", headers={COPY: copy}
            ):
                app.publisher.publish(ticket)
        """
    )
    with app.worker("-c", "2") as worker:
        worker.wait_for("was sent twice")
        eventually(lambda: bodies(app), 60, lambda: worker.output())

    assert bodies(app) == ["body x 2 3"]


def test_a_member_that_reported_twice_counts_once(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG)
    app.python(
        """
        import time
        from tasks import app, body, chord, member
        from amqtask.core.join import Part
        from amqtask.core.plan import join_queue
        from amqtask.core.serialize import DEFAULT_SERIALIZERS
        from amqtask.launch import note_envelope
        from amqtask.ticket import Ticket

        result = chord([member.s(1), member.s(2, 1.0)], body.s("x")).delay()
        twice = note_envelope(Part(task_id=result.parent[0].id, index=0, value=1), DEFAULT_SERIALIZERS, "json")
        queue = join_queue(result.parent.id)
        app.publisher.publish(Ticket(twice, "", queue, deadline=time.monotonic() + 30))
        """
    )
    with app.worker("-c", "2") as worker:
        eventually(lambda: bodies(app), 60, lambda: worker.output())

    assert bodies(app) == ["body x 2 3"]
