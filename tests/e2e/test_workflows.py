"""Chains, groups and chords through real workers, with nothing but RabbitMQ."""

from collections.abc import Callable

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
