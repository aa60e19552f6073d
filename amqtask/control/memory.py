"""The commands that look at memory: what processes need, samples of it, and who holds the objects of a type."""

from datetime import datetime

from amqtask.control.commands import Arguments, Done, NodeView, Parameter, ProcessAnswer, Spec

GRAPH_WITHIN = 60.0
"""Seconds for which a process is waited for that draws a graph."""


def _memory(view: NodeView, arguments: Arguments, done: Done) -> None:
    done({str(process["pid"]): process["memory"] for process in view.processes()})


def _memsample(view: NodeView, arguments: Arguments, done: Done) -> None:
    done(_megabytes(view.sample_memory()[-1][1]))


def _memdump(view: NodeView, arguments: Arguments, done: Done) -> None:
    samples = view.sample_memory()
    most = arguments["samples"]
    assert isinstance(most, int), "the command's parameters are typed"
    lines = [f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}  {_megabytes(size)}" for at, size in samples]
    grown = samples[-1][1] - samples[0][1]
    done(
        "\n".join([*lines[-most:], f"RSS: {_megabytes(samples[-1][1])}, {grown / 2**20:+.2f}MB since the first sample"])
    )


def _objgraph(view: NodeView, arguments: Arguments, done: Done) -> None:
    def answered(answers: list[ProcessAnswer]) -> None:
        said = next((answer.value for answer in answers if answer.value is not None), None)
        done({"error": f"no process drew it within {GRAPH_WITHIN:g} s"} if said is None else said)

    view.ask("objgraph", arguments, answered, one=True, patience=GRAPH_WITHIN)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.2f}MB"


MEMORY = (
    Spec(name="memory", kind="inspect", help="Bytes of memory by process.", run=_memory),
    Spec(name="memsample", kind="inspect", help="Sample the memory of all processes together.", run=_memsample),
    Spec(
        name="memdump",
        kind="inspect",
        help="The last samples of memory, and one more.",
        run=_memdump,
        parameters=(Parameter("samples", "integer", 10),),
    ),
    Spec(
        name="objgraph",
        kind="inspect",
        help="Draw what holds objects of a type in one process; needs the package objgraph there. Use -t.",
        run=_objgraph,
        parameters=(
            Parameter("num", "integer", 200),
            Parameter("max_depth", "integer", 10),
            Parameter("type", "text", "Request"),
        ),
    ),
)
