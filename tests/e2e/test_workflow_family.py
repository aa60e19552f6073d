"""Where each task of a workflow stands, as it sees it itself: its root, whom it follows, its place in its group."""

from collections.abc import Callable

from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

TASKS = """
    from amqtask import chain, chord, group

    def told(self, name):
        at = self.request
        note(name, at.id, at.root_id, at.parent_id, at.group, at.group_index)

    @app.task(bind=True)
    def step(self, *before):
        told(self, before[-1])

    @app.task(bind=True)
    def fail(self, name):
        told(self, name)
        raise ValueError(name)

    @app.task(bind=True)
    def turn(self, name):
        told(self, name)
        self.replace(named("p") | named("q"))

    @app.task(bind=True)
    def send(self, name):
        told(self, name)
        (named("t") | named("u")).delay()

    def named(name):
        return step.s(name)
    """

SENT = """
from tasks import app, chain, chord, fail, group, named, send, turn

def first(result):
    while result.parent is not None:
        result = result.parent
    return result

for canvas in (
    named("a") | group(named("b"), named("c") | named("d")) | named("e"),
    chord([named("f"), chord([named("g"), named("h")], named("i"))], named("j")),
    named("k").link(named("l")),
    fail.s("m").on_error(named("n")),
    turn.s("o") | named("r"),
    send.s("s"),
    group(named("v"), group(named("w"), named("x"))),
):
    result = canvas.delay()
    result.get(timeout=60, propagate=False)
    print(first(result).id, *[child.id for child in first(result).children])
"""

# Of each task: root, parent, group and place in it. A group has the name of its first member in brackets.
PLACES = {
    "a": ("a", "-", "-", "-"),
    "b": ("a", "a", "[b]", "0"),
    "c": ("a", "a", "-", "-"),
    "d": ("a", "c", "[b]", "1"),
    "e": ("a", "[b]", "-", "-"),
    "f": ("[f]", "-", "[f]", "0"),
    "g": ("[f]", "-", "[g]", "0"),
    "h": ("[f]", "-", "[g]", "1"),
    "i": ("[f]", "[g]", "[f]", "1"),
    "j": ("[f]", "[f]", "-", "-"),
    "k": ("k", "-", "-", "-"),
    "l": ("k", "k", "-", "-"),
    "m": ("m", "-", "-", "-"),
    "n": ("m", "m", "-", "-"),
    "o": ("o", "-", "-", "-"),
    "p": ("o", "o", "-", "-"),
    # It ends what was put in the place of o, and so has its id.
    "q": ("o", "p", "-", "-"),
    "r": ("o", "o", "-", "-"),
    "s": ("s", "-", "-", "-"),
    "t": ("s", "s", "-", "-"),
    "u": ("s", "t", "-", "-"),
    "v": ("[v]", "-", "[v]", "0"),
    "w": ("[v]", "-", "[w]", "0"),
    "x": ("[v]", "-", "[w]", "1"),
}

CHILDREN = {"a": ["e"], "[f]": ["f", "i"], "k": ["l"], "m": [], "o": ["r"], "s": ["t"], "[v]": ["v", "[w]"]}
"""Of what comes first in each canvas. A chord that follows is known by its body, a chain that was sent by its start."""


def test_each_task_knows_its_root_its_parent_and_its_place_in_its_group(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with app.worker("-c", "2") as worker:
        sent = app.python(SENT)
        eventually(lambda: len(app.lines()) == len(PLACES), 60, lambda: "\n".join(app.lines()) + worker.output())

    told = dict(sorted((name, rest) for name, *rest in (line.split() for line in app.lines())))
    names = {"None": "-"}
    for name, (id, _, _, group, index) in told.items():  # noqa: A001 - the field's name
        names.setdefault(id, name)
        if index == "0":
            names[group] = f"[{name}]"
    places = {
        name: (names[root], names[parent], names[group], index.replace("None", "-"))
        for name, (_, root, parent, group, index) in told.items()
    }
    children = {names[first]: [names[child] for child in rest] for first, *rest in map(str.split, sent.splitlines())}

    assert places == PLACES
    assert children == CHILDREN
