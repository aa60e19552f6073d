"""RabbitMQ in the versions that Debian's suites have, each in a root of its own with its own Erlang.

A root is made once by debootstrap, from the mirror that this machine's apt uses, and kept outside the repository. The
tests see it as a folder with `rabbitmq-server` and `rabbitmqctl` in it, which they find by RABBITMQ_HOME and PATH.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from amqtask.testing.rabbitmq import find_server

PACKAGES = "rabbitmq-server,ca-certificates"
ANY_SUITE = Path("/usr/share/debootstrap/scripts/sid")
"""debootstrap's way of making a suite that it does not know by name yet."""
DEBOOTSTRAP_WITHIN = 1800.0
TOOLS = {
    "rabbitmq-server": "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "rabbitmqctl": "/usr/lib/rabbitmq/bin/rabbitmqctl",
    "erl": "/usr/bin/erl",
    "epmd": "/usr/bin/epmd",
}

# A mount namespace of its own: what is mounted is gone with the process, however that ends. Nodes live in the
# machine's folder for temporary files, so both sides see it at the same path.
_TOOL = """#!/bin/sh
# Runs {path} of the root beside this folder. Written by `make test-matrix`.
export AMQTASK_ROOT={root} AMQTASK_TEMPORARY="${{TMPDIR:-/tmp}}"
exec unshare --mount -- sh -c '
    mkdir -p "$AMQTASK_ROOT$AMQTASK_TEMPORARY" &&
    mount -t proc proc "$AMQTASK_ROOT/proc" &&
    mount --bind "$AMQTASK_TEMPORARY" "$AMQTASK_ROOT$AMQTASK_TEMPORARY" &&
    PATH=/usr/sbin:/usr/bin:/sbin:/bin exec chroot "$AMQTASK_ROOT" {path} "$@"
' {name} "$@"
"""


class Missing(Exception):
    """This server cannot be had on this machine; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the matrix: how its version begins, and the Debian suite that has it; None is the installed one."""

    series: str
    suite: str | None = None


SERVERS = (Server("3.10"), Server("4.0", "trixie"), Server("4.3", "forky"))


def environment(server: Server) -> dict[str, str]:
    """What the tests' environment needs to find this server; a root that is not there yet is made.

    Raises:
        Missing: it cannot be had.
    """
    if server.suite is None:
        if find_server() is None:
            raise Missing("no rabbitmq-server is installed")
        return {}
    home = _cache() / server.suite
    if not (home / "sbin").exists():
        _make(server.suite, home)
    return {"RABBITMQ_HOME": str(home), "PATH": f"{home / 'sbin'}{os.pathsep}{os.environ['PATH']}"}


def version(extra: dict[str, str]) -> str:
    """Which version of the server is found in this environment.

    Raises:
        Missing: it does not run.
    """
    scripts = Path(extra["RABBITMQ_HOME"], "sbin") if extra else find_server()
    assert scripts is not None, "looked for before"
    command = [str(scripts / "rabbitmqctl"), "version"]
    quiet = {"RABBITMQ_CONF_ENV_FILE": "/nonexistent", "HOME": "/tmp", "LANG": "C.UTF-8"}
    done = subprocess.run(command, env=os.environ | extra | quiet, capture_output=True, text=True, check=False)
    found = re.search(r"^\d+\.\d+\.\d+\S*$", done.stdout, re.MULTILINE)
    if found is None:
        raise Missing(f"its rabbitmqctl does not run: {(done.stderr or done.stdout).strip()}")
    return found[0]


def _cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return Path(given or Path.home() / ".cache", "amqtask", "matrix").absolute()


def _make(suite: str, home: Path) -> None:
    if os.geteuid() != 0:
        raise Missing("making and entering its root takes root: sudo make test-matrix")
    if shutil.which("debootstrap") is None:
        raise Missing("there is no debootstrap: apt-get install debootstrap")
    mirror = _mirror()
    root = home / "root"
    print(f"making Debian {suite} with its RabbitMQ in {root}", file=sys.stderr, flush=True)
    if root.exists():
        shutil.rmtree(root)  # half made, by a run that was cut
    root.mkdir(parents=True)
    command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(root), mirror, str(ANY_SUITE)]
    with (home / "debootstrap.log").open("wb") as log:
        try:
            done = subprocess.run(command, stdout=log, stderr=log, timeout=DEBOOTSTRAP_WITHIN, check=False)
        except subprocess.TimeoutExpired as error:
            raise Missing(f"debootstrap took more than {DEBOOTSTRAP_WITHIN:g} s; see {log.name}") from error
    if done.returncode:
        raise Missing(f"debootstrap failed; see {log.name}")
    shutil.copy("/etc/hosts", root / "etc" / "hosts")
    # Written last: a folder of tools says that the root is whole.
    tools = home / "sbin.new"
    tools.mkdir(exist_ok=True)
    for name, path in TOOLS.items():
        tool = tools / name
        tool.write_text(_TOOL.format(root=shlex.quote(str(root)), path=path, name=name))
        tool.chmod(0o755)
    tools.rename(home / "sbin")


def _mirror() -> str:
    """The mirror of Debian's packages that this machine's apt is set to."""
    if shutil.which("apt-get") is None:
        raise Missing("there is no apt-get to ask for a mirror of Debian")
    command = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Identifier: Packages"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        origin, _, address = line.rpartition(" ")
        if origin == "Debian Debian":
            return address
    raise Missing("apt knows no mirror of Debian (apt-get update?)")
