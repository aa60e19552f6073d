"""The pytest plugin, in test runs of its own."""

from pathlib import Path

import pytest

from tests.support.pages import blocks

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "testing.md"
DEADLINE = 100


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Runs of pytest that have this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("AMQTASK_TEST_BROKER", "AMQTASK_CONFIG", "AMQTASK_BROKER_URL"):
        monkeypatch.delenv(name, raising=False)
    pytester.plugins = ["pytest_amqtask"]
    return pytester


@pytest.fixture
def shop(run: pytest.Pytester) -> pytest.Pytester:
    """The example of the documentation."""
    for block in blocks(PAGE):
        if block.file is not None and block.file != "conftest.py":
            (run.path / block.file).write_text(block.code)
    return run


def test_the_tests_of_the_documentation_pass_on_a_rabbitmq_and_skip_time_travel(
    shop: pytest.Pytester, vhost: str
) -> None:
    done = shop.runpytest_subprocess("-rs", f"--amqtask-broker={vhost}", timeout=DEADLINE)

    done.assert_outcomes(passed=2, skipped=3)
    done.stdout.fnmatch_lines(["*the clock of a RabbitMQ cannot be turned*"])


def test_a_test_takes_milliseconds_and_leaves_the_app_as_it_was(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import time

        import pytest
        from amqtask import App

        app = App("mine", broker="amqp://nobody@nowhere.invalid/", config={"queues": {"q": {}}})


        @app.task(queue="q")
        def double(x):
            return 2 * x


        @pytest.fixture
        def amqtask_app(amqtask_broker):
            with amqtask_broker.using(app):
                yield app


        @pytest.mark.parametrize("number", range(50))
        def test_one(amqtask_worker, number):
            assert double.delay(number).get(timeout=30) == 2 * number


        def test_that_it_was_quick():
            assert time.process_time() < 20


        def test_the_app_is_as_before():
            assert "nowhere.invalid" in str(app.session_options.addresses[0])


        def test_what_keeps_it_from_being_idle_is_told(amqtask_worker, amqtask_broker):
            from amqtask.testing.broker import NotIdle

            @app.task(queue="q", name="slow")
            def slow():
                time.sleep(0.5)

            slow.delay()
            with pytest.raises(NotIdle, match="1 tasks that run|q"):
                amqtask_broker.run_until_idle(timeout=0.05)
        """
    )

    done = run.runpytest_subprocess("-q", timeout=DEADLINE)

    done.assert_outcomes(passed=53)


def test_an_app_without_a_name_has_a_queue_for_tasks_that_a_test_makes(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        def test_it(amqtask_app, amqtask_worker):
            @amqtask_app.task
            def double(x):
                return 2 * x

            assert double.delay(21).get(timeout=30) == 42
        """
    )

    run.runpytest_subprocess(timeout=DEADLINE).assert_outcomes(passed=1)


def test_runs_that_do_not_use_it_load_nothing_of_amqtask(run: pytest.Pytester) -> None:
    run.makepyfile(
        """
        import sys


        def test_it():
            assert [name for name in sys.modules if name.partition(".")[0] in ("amqtask", "pamqp", "pika")] == []
        """
    )

    run.runpytest_subprocess("-W", "error", timeout=DEADLINE).assert_outcomes(passed=1)
