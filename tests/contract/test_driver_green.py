"""Law 9: the other laws hold again where gevent or eventlet has patched the standard library."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.support.broker import Broker

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("driver", ["pika", "amqp"])
@pytest.mark.parametrize("library", sorted(PATCH))
def test_the_laws_hold_again_in_green_threads(library: str, driver: str, broker: Broker) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    # eventlet's own resolver uses what its libraries have deprecated.
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning"]
    arguments += ["-k", f"{driver}-rabbitmq", "tests/contract/test_driver.py"]
    program = f"{PATCH[library]}; import sys, pytest; sys.exit(pytest.main({arguments!r}))"

    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program],
        env=os.environ | {"AMQTASK_BROKER_URL": broker.vhost()},
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
