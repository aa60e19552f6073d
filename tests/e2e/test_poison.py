"""Tasks that kill the process that executes them: counted on whatever node, put aside, and nobody else with them."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.test_worker import dead_letters, depth
from tests.support.eventually import eventually
from tests.support.program import Scratch

pytestmark = pytest.mark.matrix

MakeScratch = Callable[..., Scratch]

CONFIG = """
    queues:
      work: {type: %s}
    routes:
      - {task: "*", queue: work}
    worker:
      restart: {initial: 50ms, max: 100ms, budget: 100}
    """

TASKS = """
    @app.task
    def poison(key):
        note("poison", key)
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task
    def mark(key):
        note("mark", key)
        time.sleep(0.05)

    @app.task(on_worker_lost="fail")
    def once(key):
        note("once", key)
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task(on_worker_lost="fail")
    def gentle(key):
        note("gentle", key)
        return key

    @app.task
    def add(a, b):
        return a + b
    """


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_a_poisonous_task_is_put_aside_and_the_messages_prefetched_with_it_are_not(
    scratch: MakeScratch, kind: str
) -> None:
    app = scratch(TASKS, CONFIG % kind)
    app.python(
        """
        import tasks
        for number in range(10): tasks.mark.delay(number)
        tasks.poison.delay("p")
        for number in range(10, 40): tasks.mark.delay(number)
        """
    )
    with app.worker("-c", "2", "--prefetch", "20") as worker:
        (dead,) = eventually(lambda: dead_letters(app, "work.dlq"), 90, worker.output)
        eventually(lambda: {line for line in app.lines() if "mark" in line} == {f"mark {n}" for n in range(40)}, 60)
        assert worker.stop() == 0
    assert (dead["x-aqt-death-reason"], dead["task"]) == ("poison", "tasks.poison")
    assert dead["x-aqt-death-detail"] == "3 processes died while they executed it"
    # The broker may give it to the next process before anybody knows that the one before died.
    assert 3 <= app.lines().count("poison p") <= 4
    assert depth(app, "work") == 0


def test_the_deaths_on_all_nodes_count(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG % "quorum")
    with app.worker("-c", "1", "-n", "one") as one, app.worker("-c", "1", "-n", "two") as two:
        app.python("import tasks; tasks.poison.delay('p')")
        (dead,) = eventually(lambda: dead_letters(app, "work.dlq"), 90, lambda: one.output() + two.output())
        one.stop()
        two.stop()
    assert dead["x-aqt-death-reason"] == "poison"
    tally = dead.get("x-aqt-crashed-on", {})
    assert isinstance(tally, dict)
    assert {era.partition("/")[0] for era in tally} <= {"one", "two"}
    # Each node may have one death that it has not had the occasion to write into the message.
    assert 3 <= app.lines().count("poison p") <= 4


def test_deaths_are_remembered_by_the_message_when_the_whole_node_is_started_anew(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task
        def poison(key):
            note("poison", key)
            while len(open(JOURNAL).read().splitlines()) == 2:
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        CONFIG % "quorum",
    )
    with app.worker("-c", "1", "-n", "one"):
        app.python("import tasks; tasks.poison.delay('p')")
        # It died once, goes on with that in its headers, and runs for the second time when the node goes.
        eventually(lambda: len(app.lines()) == 2)
    app.journal.write_text("poison p\n" * 3)
    with app.worker("-c", "1", "-n", "one"):
        (dead,) = eventually(lambda: dead_letters(app, "work.dlq"), 90)
    tally = dead["x-aqt-crashed-on"]
    assert isinstance(tally, dict)
    assert len(tally) == 2, "of two eras"


def test_a_task_that_must_not_run_again_fails_when_its_process_is_lost(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG % "quorum")
    with app.worker("-c", "2") as worker:
        code = (
            "import tasks; r = tasks.once.delay('x'); print(type(r.get(propagate=False, timeout=60)).__name__, r.state)"
        )
        assert app.python(code) == "WorkerLost FAILURE\n"
        assert worker.stop() == 0
    assert app.lines() == ["once x"]
    assert depth(app, "work") == 0


def test_a_redelivered_task_that_must_not_run_twice_runs_if_it_never_began(scratch: MakeScratch) -> None:
    app = scratch(TASKS, CONFIG % "quorum")
    with app.worker("-c", "1", "--prefetch", "10") as worker:
        app.python("import tasks; tasks.poison.delay('p'); [tasks.gentle.delay(n) for n in range(5)]")
        eventually(lambda: {line for line in app.lines() if "gentle" in line} == {f"gentle {n}" for n in range(5)}, 90)
        worker.stop()
    assert sorted(line for line in app.lines() if "gentle" in line) == [f"gentle {n}" for n in range(5)]


def test_when_a_whole_node_goes_another_one_runs_all_that_it_had(scratch: MakeScratch) -> None:
    # The broker returns what had begun and what waited behind it alike: nobody may fail the ones for the others.
    app = scratch(
        """
        @app.task(on_worker_lost="fail")
        def once(key):
            note(key, os.environ["NODE"])
            while os.environ["NODE"] == "one":
                time.sleep(1)
            return key
        """,
        CONFIG % "quorum",
    )
    app.environment["NODE"] = "one"
    with app.worker("-c", "1", "-n", "one", "--prefetch", "5") as one:
        app.python("import tasks; [tasks.once.delay(n) for n in range(5)]")
        eventually(app.lines)
        one.kill()
    app.environment["NODE"] = "two"
    with app.worker("-c", "1", "-n", "two") as two:
        eventually(lambda: len(app.lines()) == 6, 60, two.output)
        assert two.stop() == 0
    begun, *others = app.lines()
    assert begun.endswith(" one")
    assert sorted(others) == [f"{number} two" for number in range(5)], "each, and that which had begun once more"


def test_poison_that_is_sent_again_has_its_chances_again(scratch: MakeScratch) -> None:
    app = scratch(
        """
        @app.task
        def poison(key):
            note("poison", key)
            if not os.path.exists("mended"):
                os.kill(os.getpid(), signal.SIGKILL)
        """,
        CONFIG % "quorum",
    )
    with app.worker("-c", "1"):
        app.python("import tasks; tasks.poison.delay('p')")
        eventually(lambda: dead_letters(app, "work.dlq"), 90)
        (app.folder / "mended").touch()
        before = len(app.lines())
        replayed = app.run("dlq", "replay", "-A", "tasks:app", "--json")
        assert json.loads(replayed.stdout)["replayed"] == 1, replayed.stderr
        eventually(lambda: len(app.lines()) == before + 1)
    assert depth(app, "work.dlq") == 0
