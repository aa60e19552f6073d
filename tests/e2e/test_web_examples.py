"""The examples fastapi_app and django_app, with a worker of their own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(code: str, vhost: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=folder,
        env=os.environ
        | {"AMQTASK_BROKER_URL": vhost, "PYTHONPATH": str(ROOT), "DJANGO_DATABASE": str(folder / "orders.sqlite3")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fastapi_handlers_send_and_await_tasks(vhost: str, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    run(
        """
        import asyncio, httpx
        from examples.fastapi_app.main import api
        from examples.fastapi_app.tasks import app

        async def main():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://test") as client:
                begun = await asyncio.gather(*(client.post("/sums", json={"a": n, "b": n}) for n in range(20)))
                assert {answer.status_code for answer in begun} == {202}
                ends = [await client.get(f"/sums/{answer.json()['id']}") for answer in begun]
                assert [end.json()["sum"] for end in ends] == [2 * n for n in range(20)]
                assert (await client.get("/squares/4")).json() == {"sum": 14}

        with app.worker():
            asyncio.run(main())
        """,
        vhost,
        tmp_path,
    )


def test_django_sends_a_task_when_its_transaction_is_committed_and_not_after_a_rollback(
    vhost: str, tmp_path: Path
) -> None:
    run(
        """
        import os, time
        import pika
        from examples.django_app.tasks import Order, app, place, price
        from django.core.management import call_command
        from django.db import transaction

        def waiting():
            with pika.BlockingConnection(pika.URLParameters(os.environ["AMQTASK_BROKER_URL"])) as connection:
                return connection.channel().queue_declare("orders", passive=True).method.message_count

        call_command("migrate", run_syncdb=True, verbosity=0)
        place("tea")
        try:
            place("unicorn", fail=True)
        except ValueError:
            pass
        with transaction.atomic():
            price.delay_on_commit(1)
            assert waiting() == 1
        assert waiting() == 2
        assert [order.name for order in Order.objects.all()] == ["tea"]
        with app.worker():
            until = time.monotonic() + 60
            while Order.objects.get(name="tea").price is None:
                assert time.monotonic() < until, "the order was never priced"
                time.sleep(0.05)
        """,
        vhost,
        tmp_path,
    )
