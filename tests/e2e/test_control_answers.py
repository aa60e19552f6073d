"""What a node of two processes answers has all the fields that Celery's users and tools read."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.test_control import TASKS, fleet
from tests.support.eventually import eventually
from tests.support.program import Scratch

MakeScratch = Callable[..., Scratch]

REQUEST = (
    "id name args kwargs type hostname time_start acknowledged delivery_info worker_pid"
    " delivery_info.exchange delivery_info.routing_key delivery_info.priority delivery_info.redelivered"
)
STATS = (
    "total pid clock uptime prefetch_count autoscaler"
    " pool.implementation pool.max-concurrency pool.processes pool.max-tasks-per-child pool.put-guarded-by-semaphore"
    " pool.timeouts pool.threads pool.writes.total pool.writes.avg pool.writes.all pool.writes.raw pool.writes.strategy"
    " pool.writes.inqueues.active pool.writes.inqueues.total"
    " broker.hostname broker.port broker.userid broker.virtual_host broker.transport broker.transport_options"
    " broker.ssl broker.heartbeat broker.connect_timeout broker.login_method broker.insist broker.uri_prefix"
    " broker.failover_strategy broker.alternates"
    " rusage.utime rusage.stime rusage.maxrss rusage.ixrss rusage.idrss rusage.isrss rusage.minflt rusage.majflt"
    " rusage.nswap rusage.inblock rusage.oublock rusage.msgsnd rusage.msgrcv rusage.nsignals rusage.nvcsw rusage.nivcsw"
)
QUEUE = (
    "name exchange.name exchange.type exchange.arguments exchange.durable exchange.passive exchange.auto_delete"
    " exchange.delivery_mode exchange.no_declare routing_key queue_arguments binding_arguments consumer_arguments"
    " durable exclusive auto_delete no_ack alias bindings no_declare expires message_ttl max_length max_length_bytes"
    " max_priority"
)
PROCESS = "index pid state uptime running processed reserved memory pulse"

ASK = """
    import json, tasks
    look = tasks.app.control.inspect(limit=1, timeout=10)
    answers = {
        "active": look.active(), "safe": look.active(safe=True), "reserved": look.reserved(),
        "scheduled": look.scheduled(), "query": look.query_task(IDS, "nowhere"), "stats": look.stats(),
        "queues": look.active_queues(), "processes": look.processes(), "clock": look.clock(), "revoked": look.revoked(),
        "registered": look.registered("rate_limit", "serializer"), "report": look.report(),
        "memsample": look.memsample(), "memdump": look.memdump(), "memory": look.memory(),
        "objgraph": look.objgraph("Nothing"), "conf": look.conf(with_defaults=True),
        "hello": look.call("hello", {"from_node": "c@h", "revoked": {}}),
        "election": tasks.app.control.to("one@h").call("election"),
    }
    print(json.dumps({name: answer["one@h"] for name, answer in answers.items()}))
    """


def missing(form: object, wanted: str) -> list[str]:
    """The dotted fields that are not there."""
    gone = []
    for path in wanted.split():
        place = form
        for word in path.split("."):
            if not isinstance(place, dict) or word not in place:
                gone.append(path)
                break
            place = place[word]
    return gone


@pytest.mark.timeout(240)
def test_all_answers_have_the_fields_that_are_read_of_them(scratch: MakeScratch) -> None:
    app = scratch(TASKS)
    with fleet(app, "one@h", options=("--prefetch", "2")) as nodes:
        nodes.ask("control", "revoke", "gone")
        nodes.ask("control", "rate_limit", "tasks.tick", "1/h")
        limited = [nodes.call("tasks.tick", n) for n in range(3)]
        eventually(lambda: nodes.ask("inspect", "scheduled")["one@h"], 60)
        first, second = (nodes.call("tasks.hi_sleep", 90, key) for key in "ab")
        eventually(lambda: sum(line.startswith("begin") for line in app.lines()) == 2, 60)
        said = json.loads(app.python(ASK.replace("IDS", repr(first))))

    assert {item["id"] for item in said["active"]} == {first, second}
    for item in [*said["active"], *said["safe"], *said["reserved"]]:
        assert missing(item, REQUEST) == []
    assert sorted(item["args"] for item in said["active"]) == [[90, "a"], [90, "b"]]
    assert sorted(item["args"] for item in said["safe"]) == ["(90, 'a')", "(90, 'b')"]
    assert {item["id"] for item in said["reserved"]} <= {*limited}
    assert {item["request"]["id"] for item in said["scheduled"]} <= {*limited}
    assert missing(said["scheduled"][0], "eta priority request.id request.worker_pid") == []
    assert list(said["query"]) == [first]
    assert (said["query"][first][0], missing(said["query"][first][1], REQUEST)) == ("active", [])
    assert missing(said["stats"], STATS) == []
    assert said["stats"]["total"]["tasks.hi_sleep"] == 2
    assert [queue["name"] for queue in said["queues"]] == ["hi", "lo"]
    assert missing(said["queues"][0], QUEUE) == []
    assert [missing(process, PROCESS) for process in said["processes"]] == [[], []]
    assert {process["state"] for process in said["processes"]} == {"busy"}
    assert {run["name"] for process in said["processes"] for run in process["running"]} == {"tasks.hi_sleep"}
    assert isinstance(said["clock"]["clock"], int)
    assert said["revoked"] == ["gone"]
    assert "tasks.add [serializer=json]" in said["registered"]
    assert "amqtask" in said["report"]["ok"]
    assert said["memsample"].endswith("MB")
    assert [len(said["memdump"].splitlines()), said["memdump"].count("RSS:")] == [3, 1]
    assert len(said["memory"]) == 2
    assert "error" in said["objgraph"]  # no such object, or the package is not installed
    assert said["conf"]
    assert "gone" in said["hello"]["revoked"]
    assert "no elections" in said["election"]["error"]
