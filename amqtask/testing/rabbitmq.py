"""A RabbitMQ of one's own: finds an installed server and runs a private node on free ports in a temporary folder.

Nothing of the machine's own RabbitMQ is touched: the node has its own epmd, cookie, database and log. It runs as
whoever starts it, root or not. Standard library only, so that the set-up scripts can use it.
"""

import atexit
import contextlib
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from amqtask.errors import ConnectionFailed
from amqtask.testing.reaper import Reaper

BOOT_DEADLINE = 120.0
STOP_DEADLINE = 60.0
MEMORY_LIMIT = "1GB"
COOKIE = "AMQTASKPRIVATENODE"

# Debian and RPM packages, Homebrew, the Docker image, a tarball in its usual places.
_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/opt/rabbitmq/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
    "/usr/local/opt/rabbitmq/sbin",
    "/usr/local/sbin",
    "/usr/sbin",
)
_TOOLS = ("rabbitmq-server", "rabbitmqctl")


def find_server() -> Path | None:
    """The folder that holds `rabbitmq-server` and `rabbitmqctl`, or None when no RabbitMQ is installed.

    Packages put a wrapper into the PATH that changes to the user `rabbitmq`; what counts is the script behind it.
    """
    if shutil.which("erl") is None:
        return None
    folders = [Path(folder) for folder in _FOLDERS]
    if home := os.environ.get("RABBITMQ_HOME"):
        folders.insert(0, Path(home, "sbin"))
    if found := shutil.which("rabbitmq-server"):
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        scripts = [(folder / tool).resolve() for tool in _TOOLS]
        if all(script.is_file() and script.name == tool for script, tool in zip(scripts, _TOOLS, strict=True)):
            return scripts[0].parent
    return None


def takes_login(host: str, port: int, user: str = "guest", password: str = "guest", timeout: float = 5.0) -> bool:
    """Whether an AMQP 0-9-1 broker listens there that takes this login (it answers `connection.tune`)."""
    try:
        with socket.create_connection((host, port), timeout) as sock, sock.makefile("rb") as stream:
            sock.sendall(b"AMQP\0\0\x09\x01")
            if _read_method(stream.read) != (10, 10):
                return False
            # The capability asks for a close frame on a refusal, where the broker else waits and then cuts.
            capabilities = _field(b"authentication_failure_close", b"t\x01")
            properties = _field(b"capabilities", b"F" + _long(capabilities))
            answer = _long(properties) + b"\x05PLAIN" + _long(f"\0{user}\0{password}".encode()) + b"\x05en_US"
            payload = struct.pack(">HH", 10, 11) + answer
            sock.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")
            return _read_method(stream.read) == (10, 30)
    except (OSError, struct.error):
        return False


class PrivateRabbitMQ:
    """One private node; a context manager. With `beside` it shares another node's epmd, to be joined to it.

    `settings` are further lines of rabbitmq.conf, `plugins` more plugins of the installation; `management` turns the
    management plugin and its HTTP API on, `niceness` is what the scheduler is told.
    The folder goes, and the node with it, on `close`, at exit, and when this process is killed.
    """

    def __init__(
        self,
        *,
        management: bool = False,
        plugins: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        beside: "PrivateRabbitMQ | None" = None,
        niceness: int = 10,
    ) -> None:
        scripts = find_server()
        if scripts is None:
            raise ConnectionFailed(
                "no RabbitMQ is installed here: there is no rabbitmq-server with an Erlang to run it"
            )
        self._scripts: Final = scripts
        self._niceness: Final = niceness
        self._first: Final = beside or self
        self._owner: Final = os.getpid()
        self._folder: Final = Path(tempfile.mkdtemp(prefix="aqt-rabbitmq-"))
        self._reaper: Final = Reaper()
        self._reaper.watch_folder(str(self._folder))
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self.port, self.management_port, self._distribution_port, epmd_port = free_ports(4)
        self._epmd_port: int = beside._epmd_port if beside else epmd_port
        self.name: Final = f"aqt{self.port}@localhost"
        self._write_settings(management, plugins, settings or {})
        atexit.register(self.close)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The node's default virtual host as guest."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def log(self) -> Path:
        """The node's log file."""
        return self._folder / "log" / "rabbit.log"

    @property
    def is_running(self) -> bool:
        """Whether the process is there; it may be frozen."""
        return self._process is not None and self._process.poll() is None

    def start(self, deadline: float = BOOT_DEADLINE) -> None:
        """Start the node, or start it again with the data it had, and wait until it answers AMQP.

        Raises:
            ConnectionFailed: it ended or did not answer within `deadline` seconds; the message holds the log's end.
        """
        if self.is_running:
            return
        self._start_epmd()
        with (self._folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                ["nice", "-n", str(self._niceness), str(self._scripts / "rabbitmq-server")],
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._reaper.watch_group(self._process.pid)
        until = time.monotonic() + deadline
        while not takes_login("127.0.0.1", self.port, timeout=2.0):
            if self._process.poll() is not None:
                raise ConnectionFailed(f"the private RabbitMQ ended while it started:\n{self._last_words()}")
            if time.monotonic() > until:
                raise ConnectionFailed(
                    f"the private RabbitMQ did not answer within {deadline:g} s:\n{self._last_words()}"
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the node as its administrator would; what is durable stays."""
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        # A node that takes longer is killed.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE)
        self.kill9()

    def kill9(self) -> None:
        """Kill the node at once, as the kernel would."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._reaper.spare_group(self._process.pid)
            self._process = None

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers on them."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End a `freeze`."""
        self._signal(signal.SIGCONT)

    def ctl(self, *arguments: str, timeout: float = 60.0) -> str:
        """Run `rabbitmqctl` on this node; what it prints.

        Raises:
            ConnectionFailed: it failed; the message holds what it said.
        """
        command = [str(self._scripts / "rabbitmqctl"), "-q", "-n", self.name, *arguments]
        done = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode:
            raise ConnectionFailed(f"rabbitmqctl {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def add_vhost(self, name: str) -> str:
        """A new virtual host, open to guest; its URL."""
        self.ctl("add_vhost", name)
        self.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url + quote(name, safe="")

    def delete_vhost(self, name: str) -> None:
        """Remove a virtual host with all that is in it."""
        self.ctl("delete_vhost", name)

    def set_alarm(self) -> None:
        """Raise the memory alarm: connections that publish are blocked until `clear_alarm`."""
        self.ctl("set_vm_memory_high_watermark", "0")

    def clear_alarm(self) -> None:
        """End the memory alarm."""
        self.ctl("set_vm_memory_high_watermark", "absolute", MEMORY_LIMIT)

    def join(self) -> None:
        """Make this running node a member of the cluster of the node it was made `beside`; it loses what it has."""
        for command in (["stop_app"], ["reset"], ["join_cluster", self._first.name], ["start_app"]):
            self.ctl(*command)

    def close(self) -> None:
        """Kill the node and remove its folder; idempotent."""
        if os.getpid() != self._owner:
            # A forked process runs its parent's exit handlers too.
            return
        atexit.unregister(self.close)
        self.kill9()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._reaper.spare_group(self._epmd.pid)
            self._epmd = None
        self._reaper.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            # The whole group: the script, the Erlang machine and its helpers.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _start_epmd(self) -> None:
        if self._first is not self or (self._epmd is not None and self._epmd.poll() is None):
            return
        epmd = shutil.which("epmd")
        if epmd is None:
            raise ConnectionFailed("Erlang is installed without its epmd")
        self._epmd = subprocess.Popen(
            [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._reaper.watch_group(self._epmd.pid)

    def _write_settings(self, management: bool, plugins: Sequence[str], settings: Mapping[str, str]) -> None:
        for folder in ("mnesia", "log", "generated", "schema"):
            (self._folder / folder).mkdir()
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(COOKIE)
        cookie.chmod(0o400)
        enabled = [*plugins, "rabbitmq_management"] if management else plugins
        (self._folder / "enabled_plugins").write_text(f"[{','.join(enabled)}].\n")
        lines = {
            "listeners.tcp.local": f"127.0.0.1:{self.port}",
            "log.console": "false",
            "log.file.level": "info",
            "vm_memory_high_watermark.absolute": MEMORY_LIMIT,
            "disk_free_limit.absolute": "50MB",
        }
        if management:
            lines |= {"management.tcp.port": str(self.management_port), "management.tcp.ip": "127.0.0.1"}
        lines |= settings
        text = "".join(f"{key} = {value}\n" for key, value in lines.items())
        (self._folder / "rabbitmq.conf").write_text(text)

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        kept = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if key in os.environ}
        return kept | {
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": str(folder / "erl_crash.dump"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_USE_LONGNAME": "false",
            "RABBITMQ_NODE_IP_ADDRESS": "",
            "RABBITMQ_NODE_PORT": "",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(folder / "rabbit.pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_SCHEMA_DIR": str(folder / "schema"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _last_words(self) -> str:
        texts = [path.read_text(errors="replace") for path in (self._folder / "output.log", self.log) if path.exists()]
        return "\n".join("\n".join(text.splitlines()[-20:]) for text in texts)


def free_ports(count: int) -> list[int]:
    """So many TCP ports of 127.0.0.1 that nothing listens on now."""
    # Below the range that the kernel takes for outgoing connections: a stopped node must find its port free again.
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            sock = held.enter_context(socket.socket())
            port = random.randrange(20_000, 32_000)
            with contextlib.suppress(OSError):
                sock.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def _read_method(read: object) -> tuple[int, int]:
    assert callable(read)
    kind, _, size = struct.unpack(">BHI", read(7))
    payload = read(size + 1)
    method: tuple[int, int] = struct.unpack_from(">HH", payload)
    return method if kind == 1 else (0, 0)


def _long(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def _field(key: bytes, value: bytes) -> bytes:
    return bytes((len(key),)) + key + value
