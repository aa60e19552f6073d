"""Options of a call that do not exist are no options: they raise before anything is sent."""

import pytest

from amqtask import App
from amqtask.task import CallOptions

app = App("calls", config={"queues": {"lo": {}}, "tasks": {"default_queue": "lo"}})


@app.task
def add(x: int, y: int) -> int:
    return x + y


@pytest.mark.parametrize(("option", "meant"), [("countdwn", "countdown"), ("routing_kye", "routing_key")])
def test_a_misspelt_option_of_a_call_names_the_one_that_was_meant(option: str, meant: str) -> None:
    call: CallOptions = {option: 3}  # type: ignore[misc]

    with pytest.raises(TypeError, match=rf"no option '{option}' \(did you mean \"{meant}\"\?\)"):
        add.apply_async((1, 2), **call)
    with pytest.raises(TypeError, match=option):
        app.send_task("of.somebody", **call)
