"""Every remote command of Celery is there, under all its names and with its arguments in their order."""

import pytest

from amqtask.control.commands import Commands, Spec
from amqtask.control.inspecting import INSPECT
from amqtask.control.steering import CONTROL

INSPECTED = {
    "report": "",
    "conf": "with_defaults=False",
    "dump_conf": "with_defaults=False",
    "query_task": "ids",
    "clock": "",
    "hello": "from_node revoked",
    "ping": "",
    "stats": "",
    "scheduled": "",
    "dump_schedule": "",
    "reserved": "",
    "dump_reserved": "",
    "active": "safe=False",
    "dump_active": "safe=False",
    "revoked": "",
    "dump_revoked": "",
    "registered": "taskinfoitems builtins=False",
    "dump_tasks": "taskinfoitems builtins=False",
    "active_queues": "",
    "objgraph": "num=200 max_depth=10 type=Request",
    "memsample": "",
    "memdump": "samples=10",
}
CONTROLLED = {
    "revoke": "task_id terminate=False signal=SIGTERM",
    "terminate": "signal task_id",
    "revoke_by_stamped_headers": "headers terminate=False signal=SIGTERM",
    "rate_limit": "task_name rate_limit",
    "time_limit": "task_name soft hard",
    "add_consumer": "queue exchange exchange_type=direct routing_key",
    "cancel_consumer": "queue",
    "pool_grow": "n=1",
    "pool_shrink": "n=1",
    "pool_restart": "modules reload=False reloader",
    "autoscale": "max min",
    "enable_events": "",
    "disable_events": "",
    "heartbeat": "",
    "election": "id topic action",
    "shutdown": "msg",
}


@pytest.mark.parametrize(("name", "parameters"), [*INSPECTED.items(), *CONTROLLED.items()])
def test_a_command_has_celerys_name_and_parameters(name: str, parameters: str) -> None:
    spec = Commands([*INSPECT, *CONTROL]).find(name)
    assert spec is not None
    assert spec.kind == ("inspect" if name in INSPECTED else "control")
    wanted = [word.partition("=") for word in parameters.split()]
    assert [parameter.name for parameter in spec.parameters] == [name for name, _, _ in wanted]
    for name, _, default in wanted:
        if default:
            assert str(parameter_of(spec, name)) == default


def parameter_of(spec: Spec, name: str) -> object:
    return next(parameter.default for parameter in spec.parameters if parameter.name == name)
