"""A call to copy, made up from the signatures of an app's tasks."""

from amqtask import App, Task
from amqtask.worker.sample import sample_call


def test_each_argument_is_made_up_by_its_type() -> None:
    app = App("sample")

    @app.task(name="t.send", bind=True)
    def send(self: Task[..., None], to: str, number: int, *rest: int, loud: bool, shop: str = "books") -> None:
        """Takes this and that."""

    assert sample_call([send]) == """t.send -a '["text", 1]' -k '{"loud": true}'"""


def test_a_task_whose_arguments_cannot_be_made_up_is_passed_over() -> None:
    app = App("sample")

    @app.task(name="t.odd")
    def odd(what: App) -> None:
        """Takes what has no form."""

    @app.task(name="t.plain")
    def plain() -> None:
        """Takes nothing."""

    assert sample_call([odd, plain]) == "t.plain"
    assert sample_call([odd]) == ""
