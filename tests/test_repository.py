"""The files around the package: what starts services, installs, and checks."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent


def test_every_service_of_the_compose_file_has_a_health_check_and_listens_on_this_machine_only() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    assert services.keys() == {"rabbitmq", "redis", "postgres"}
    assert services["rabbitmq"]["image"] == "rabbitmq:4-management"
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name


def test_the_package_tells_that_it_is_typed() -> None:
    assert (ROOT / "amqtask" / "py.typed").exists()


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "bench-quick", "clean", "help"])
def test_make_knows_its_targets(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target],
        cwd=ROOT,
        # Within `make test` the outer make would hand down its options.
        env={name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_run_of_the_ci_is_a_program_that_bash_can_read() -> None:
    run = ROOT / ".ci" / "run"

    assert os.access(run, os.X_OK)
    subprocess.run(["bash", "-n", run], check=True)


def test_the_extras_that_others_are_made_of_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        extra
        for needs in extras.values()
        for need in needs
        if (match := re.fullmatch(r"amqtask\[(.+)\]", need))
        for extra in match[1].split(",")
    }

    assert named
    assert named <= extras.keys()
