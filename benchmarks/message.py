"""Message: what the bare drivers carry.

The floor is the cost of a task's bytes without a framework, so headers and body have the shape and size of message
protocol 2, which is what amqtask and Celery send.
"""

import json
import uuid

from benchmarks.peers.base import Call

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def headers(call: Call) -> dict[str, object]:
    identifier = str(uuid.uuid4())
    return {
        "lang": "py",
        "task": "benchmarks.noop",
        "id": identifier,
        "root_id": identifier,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": repr(call)[:100],
        "kwargsrepr": "{}",
        "origin": "benchmarks@localhost",
    }


def body(call: Call) -> bytes:
    """The task's mark stands first, so that a bare consumer needs to decode nothing."""
    return bytes([call[0] & 255]) + json.dumps([list(call), {}, _EMBED]).encode()
