"""Chains, groups and chords through real workers, with nothing but RabbitMQ."""

from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    from amqtask import chain, chord, group

    @app.task
    def add(a, b):
        return a + b

    @app.task
    def total(numbers):
        note("total", numbers)
        return sum(numbers)

    @app.task
    def hi_double(number):
        return 2 * number

    @app.task
    def fail(*args):
        raise ValueError("no luck")

    @app.task
    def witness(task_id):
        note("witness", task_id)

    @app.task
    def keep(value):
        return value
    """

SHAPES = """
import tasks
from tasks import add, chain, chord, group, hi_double, keep, total

def get(canvas):
    return canvas.delay().get(timeout=60)

assert get(chain(add.s(1, 1), add.s(2), hi_double.s())) == 8
assert get(add.s(1, 1) | add.s(2) | add.s(3)) == 7
assert get(group(add.s(n, n) for n in range(5))) == [0, 2, 4, 6, 8]
assert get(chord([add.s(n, n) for n in range(5)], total.s())) == 20
assert chord(add.s(n, 1) for n in range(3))(total.s()).get(timeout=60) == 6
assert get(add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(5)) == 12
assert get(add.s(1, 1) | group(add.s(1), add.s(2))) == [3, 4]
assert get(group(add.s(1, 1), group(add.s(2, 2), add.s(3, 3))) | keep.s()) == [2, [4, 6]]
assert get(group(chord([add.s(1, 1)], total.s()), add.s(1, 1) | add.s(1)) | total.s()) == 5
assert get(group(add.s(1, 1)) | group(total.s(), total.s()) | total.s()) == 4
assert get(chord([], total.s())) == 0
assert get(add.map([]) | keep.s()) == []
assert get(hi_double.map(range(4))) == [0, 2, 4, 6]
assert get(add.starmap([(1, 2), (3, 4)])) == [3, 7]
assert get(add.chunks([(n, n) for n in range(5)], 2)) == [[0, 2], [4, 6], [8]]
assert get(add.chunks([(n, n) for n in range(5)], 2) | keep.s()) == [[0, 2], [4, 6], [8]]
assert get(chain(keep.s([]), add.si(1, 2))) == 3
result = chain(add.s(1, 1), add.s(2)).delay()
assert result.get(timeout=60) == 4 and result.parent.get(timeout=60) == 2 and result.parent.parent is None
"""


def test_every_shape_gives_what_plain_python_gives(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2") as worker:
        try:
            app.python(SHAPES)
        except AssertionError as error:
            error.add_note(worker.output())
            raise


DYNAMIC = """
    from amqtask import chain, chord, group

    @app.task
    def add(a, b):
        return a + b

    @app.task
    def total(numbers):
        note("total", sum(numbers))
        return sum(numbers)

    @app.task(bind=True)
    def instead(self, number):
        self.replace(add.s(number, 1) | add.s(10))

    @app.task(bind=True)
    def spread(self, count):
        self.replace(group(add.s(n, n) for n in range(count)))

    @app.task(bind=True)
    def growing(self, number):
        self.add_to_chord(add.s(number, 100))
        return number

    @app.task(bind=True, max_retries=2, default_retry_delay=0.1)
    def stubborn(self, number):
        if self.request.retries < 2:
            raise self.retry()
        return number
    """

DYNAMIC_SHAPES = """
from tasks import add, chain, chord, group, growing, instead, spread, stubborn, total

def get(canvas):
    return canvas.delay().get(timeout=60)

assert get(instead.s(1)) == 12
assert get(instead.s(1) | add.s(5)) == 17
assert get(chord([instead.s(1), add.s(1, 1)], total.s())) == 14
assert get(chain(spread.s(3), total.s())) == 6
assert get(chord([growing.s(1), add.s(1, 1)], total.s())) == 104
assert get(chord([stubborn.s(1), stubborn.s(2), add.s(1, 1)], total.s())) == 5
"""


def test_a_task_is_replaced_and_a_chord_grows_while_they_run(scratch: MakeScratch) -> None:
    app = scratch(DYNAMIC)
    with app.worker("-c", "2") as worker:
        try:
            app.python(DYNAMIC_SHAPES)
        except AssertionError as error:
            error.add_note(worker.output())
            raise


FAILURES = """
import tasks
from amqtask import ChordError
from tasks import add, app, chain, chord, fail, group, keep, total, witness

def failure(canvas):
    result = canvas.delay()
    try:
        result.get(timeout=60)
    except (ChordError, ValueError) as error:
        return result.id, error
    raise AssertionError(f"{canvas} did not fail")

body = total.s().on_error(witness.s())
task_id, error = failure(chord([add.s(1, 1), fail.s(), fail.s()], body))
assert isinstance(error, ChordError) and "tasks.fail[" in str(error) and "no luck" in str(error), error
print(task_id)

# In the middle of a member, in a chord within, and before a chord that so never begins.
assert isinstance(failure(chord([add.s(1, 1), fail.s() | add.s(1)], total.s()))[1], ChordError)
inner = chord([add.s(1, 1), fail.s()], total.s())
assert isinstance(failure(chord([inner, add.s(1, 1)], total.s()))[1], ChordError)
assert isinstance(failure(chord([fail.s() | group(add.s(1), add.s(2)), add.s(1, 1)], keep.s()))[1], ChordError)
assert isinstance(failure(fail.s() | group(add.s(1), add.s(2)) | total.s())[1], ValueError)
assert isinstance(failure(add.s(1, 1) | fail.s() | add.s(1))[1], ValueError)

"""


def test_a_member_that_fails_fails_its_chord_once(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2") as worker:
        try:
            body_id = app.python(FAILURES).strip()
        except AssertionError as error:
            error.add_note(worker.output())
            raise
        eventually(lambda: f"witness {body_id}" in app.lines(), 30, lambda: str(app.lines()))
        assert app.lines().count(f"witness {body_id}") == 1
        assert [line for line in app.lines() if line.startswith("total")] == []
