"""Rows 17, 20 and 22, and what else somebody changes at the broker while workers and publishers are at it: exchanges
and queues go, permissions are taken away, a policy is put over a queue."""

from collections.abc import Callable

from amqtask.core.declare import DeleteExchange, DeleteQueue
from tests.support.broker import Node
from tests.support.eventually import eventually
from tests.support.ledger import CONFIG, TASKS, Ledger
from tests.support.program import Scratch
from tests.support.queues import Queues

MakeScratch = Callable[..., Scratch]

ROUTED = """
      heartbeat: 2s
      reconnect: {initial: 100ms, max: 500ms}
    exchanges:
      jobs: {type: topic}
    queues:
      lo: {bind: ["jobs[#]"]}
    routes:
      - {task: "*", exchange: jobs, key: "{task}"}
    """

HOLD = """
    @app.task
    def hold():
        note("hold")
        while not os.path.exists("go"):
            time.sleep(0.01)
    """


def test_an_exchange_that_is_deleted_under_publishers_fails_their_calls_until_it_is_declared_again(
    scratch: MakeScratch, vhost: str
) -> None:
    app = scratch(TASKS, ROUTED, url=vhost)
    ledger = Ledger(app, vhost)
    with app.worker("-c", "2") as worker, Queues(vhost) as queues:
        with ledger.publishing():
            eventually(lambda: len(ledger.confirmed) > 30)
            queues.do(DeleteExchange(name="jobs"))
            eventually(lambda: any(line.startswith("unsent ") and "NotFound" in line for line in app.lines()))
            assert app.run("topology", "apply").returncode == 0
            before = len(ledger.confirmed)
            eventually(lambda: len(ledger.confirmed) > before + 30)
        ledger.settle()
        assert worker.stop() == 0
    unsent = {line.split()[1] for line in app.lines() if line.startswith("unsent ")}
    assert not unsent & ledger.ended, "who was told that it was not sent may send it again"
    assert not ledger.doubled()


def test_a_queue_that_is_deleted_under_a_running_task_loses_what_it_held_and_nothing_else(
    scratch: MakeScratch, vhost: str
) -> None:
    app = scratch(TASKS, CONFIG, url=vhost)
    ledger = Ledger(app, vhost)
    with app.worker("-c", "2") as worker, Queues(vhost) as queues:
        ledger.send(2, 3)
        ledger.wait_begun(2)
        queues.do(DeleteQueue(name="lo"))
        worker.wait_for("the broker cancelled the consumer of 'lo'")
        worker.wait_for("consuming 'lo' again")
        ledger.send(50)
        ledger.settle()
        eventually(lambda: queues.depth("lo") == 0)
        assert worker.stop() == 0
    assert not ledger.doubled()


def test_a_worker_whose_permission_to_read_is_taken_away_says_which_and_goes_on_when_it_is_given_back(
    scratch: MakeScratch, node: Node
) -> None:
    url = node.fresh_vhost()
    name = url.rpartition("/")[2]
    user = f"worker-{name}"
    node.ctl("add_user", user, "secret")
    node.ctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
    app = scratch(TASKS, ROUTED, url=url.replace("guest:guest", f"{user}:secret"))
    ledger = Ledger(app, url)
    ledger.send(100, 0.05)
    with app.worker("-c", "2") as worker:
        ledger.wait_begun(10)
        node.ctl("set_permissions", "-p", name, user, ".*", ".*", "^$")
        node.close_connections()
        worker.wait_for(r"403 ACCESS_REFUSED.*(needed there: .*read|read access to)")
        node.ctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        ledger.settle()
        assert worker.stop() == 0


def test_a_policy_that_fills_a_queue_at_once_refuses_publishers_and_loses_nothing(
    scratch: MakeScratch, node: Node
) -> None:
    url = node.fresh_vhost()
    name = url.rpartition("/")[2]
    app = scratch(TASKS + HOLD, CONFIG, url=url)
    ledger = Ledger(app, url)
    policy = '{"max-length": 5, "overflow": "reject-publish"}'
    app.python("import tasks; tasks.hold.delay()")
    with app.worker("-c", "1") as worker:
        eventually(lambda: "hold" in app.lines())
        with ledger.publishing():
            eventually(lambda: len(ledger.confirmed) > 20)
            node.ctl("set_policy", "-p", name, "--apply-to", "queues", "full", "^lo$", policy)
            eventually(lambda: any("PublishNacked" in line for line in app.lines()))
            (app.folder / "go").touch()
            node.ctl("clear_policy", "-p", name, "full")
            before = len(ledger.confirmed)
            eventually(lambda: len(ledger.confirmed) > before + 30)
        ledger.settle()
        assert worker.stop() == 0
