"""App: tasks, configuration, and the lazily opened ways to the broker. What users hold."""

import atexit
import importlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NoReturn, ParamSpec, TypeVar, Unpack, overload

from amqtask.batch import Batch
from amqtask.canvas import AnySignature, signature
from amqtask.clock import Clock, SystemClock
from amqtask.commanding import OwnCommands
from amqtask.component import Component
from amqtask.configuring import ConfigSource, ReadConfig, read_config
from amqtask.core.retry import RetryPolicy
from amqtask.core.signature import Signature
from amqtask.errors import AppClosed, AppNotFound
from amqtask.hooks import Middleware, Setups
from amqtask.imports import import_module
from amqtask.lifecycle import Lifecycle
from amqtask.registry import Registry
from amqtask.reports import report
from amqtask.result import AsyncResult
from amqtask.task import AnyTask, CallOptions, Task, TaskOptions

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from amqtask.assembly import Parts
    from amqtask.config.loaded import LoadedConfig
    from amqtask.config.model import Config
    from amqtask.context import Context
    from amqtask.control.client import AppControl
    from amqtask.core.entry import ScheduleEntry
    from amqtask.core.routing import Router
    from amqtask.core.topology import Topology
    from amqtask.events.receiver import AppEvents
    from amqtask.launch import Launcher
    from amqtask.periodic import EntryKeys, Periodic
    from amqtask.publisher import Publisher
    from amqtask.results.base import ResultBackend
    from amqtask.session import SessionOptions
    from amqtask.testing.worker import BackgroundOptions, BackgroundWorker

P = ParamSpec("P")
R = TypeVar("R")

ASSEMBLY = "amqtask.assembly"
"""Loaded when an app is first used, not when it is made: importing an app loads no YAML, pydantic or driver."""

BACKGROUND = "amqtask.testing.worker"
EAGER = "amqtask.testing.eager"
CLI = "amqtask.cli.main"
"""Loaded when an app is asked to work: who only sends tasks has no use for a worker."""

PERIODIC = "amqtask.periodic"
"""Loaded when an app has a periodic task: most processes need no calendar."""


class App:
    """A set of tasks, a configuration and the way to a broker. Safe to share between threads and across a fork."""

    def __init__(
        self,
        name: str,
        *,
        config: ConfigSource | None = None,
        broker: str | None = None,
        middleware: Sequence[Middleware] = (),
        clock: Clock | None = None,
    ) -> None:
        """`config` is the path of a YAML file, or a mapping of the same shape.

        Without it the file that AMQTASK_CONFIG names is read, else amqtask.yaml in the working folder, else the
        defaults hold. `broker` is short for `broker.url`. Nothing is read before the app is used.
        """
        self.name = name
        self.tasks = Registry()
        self.commands = OwnCommands()
        self.control_command, self.inspect_command = self.commands.control, self.commands.inspect
        """Decorators: functions that `amqtask control` and `amqtask inspect` call on the nodes."""
        self.on_after_configure = Setups()
        """Called with the app once the configuration is read and the tasks are imported: `@app.on_after_configure`."""
        self.on = Lifecycle()
        """Called at the turns of a worker's life: `@app.on.process_init` and so on."""
        self.components: list[Component] = []
        """What each process of a worker starts and stops along with itself."""
        self.middleware: list[Middleware] = list(middleware)
        self.clock: Clock = clock or SystemClock()
        self._source: ConfigSource | None = config
        self._overrides: list[str] = [f"broker.url={broker}"] if broker else []
        self._read: ReadConfig = read_config
        """A worker's processes have another one read it."""
        self._foreign_options: dict[str, TaskOptions] = {}
        self._lock = threading.RLock()
        self._parts: Parts | None = None
        self._pid = 0
        self._periodic: Periodic | None = None
        self._closed = False
        atexit.register(_close_at_exit, weakref.ref(self))

    def __repr__(self) -> str:
        return f"<App {self.name}>"

    # Tasks

    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...

    @overload
    def task(
        self, *, bind: Literal[True], **options: Any
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...

    @overload
    def task(self, *, base: type[AnyTask] = ..., **options: Any) -> Callable[[Callable[P, R]], Task[P, R]]: ...

    def task(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Make a function a task: `@app.task`, or `@app.task(name=…, queue=…, …)` with the options of TaskOptions.

        `base` is a subclass of Task. With `bind=True` the function's first argument is its task.

        Raises:
            TypeError: an option that does not exist.
            AlreadyRegistered: another task has this name.
        """
        if function is not None:
            return self._register(function, {})

        def decorate(function: Callable[..., Any]) -> AnyTask:
            return self._register(function, options)

        return decorate

    def _register(self, function: Callable[..., Any], options: Mapping[str, Any]) -> AnyTask:
        given = dict(options)
        base: type[AnyTask] = given.pop("base", Task)
        given.setdefault("name", default_name(function))
        unknown = given.keys() - TaskOptions.names()
        if unknown:
            raise TypeError(
                f"@{self.name}.task: unknown option {', '.join(sorted(unknown))}; the options are"
                f" {', '.join(sorted(TaskOptions.names()))}"
            )
        for name in ("autoretry_for", "dont_autoretry_for", "throws"):
            if name in given:
                given[name] = tuple(given[name])
        task = base(function, TaskOptions(**given, doc=function.__doc__ or ""), self)
        self.tasks.register(task)
        return task

    def send_task(
        self,
        name: str,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        **call: Unpack[CallOptions],
    ) -> AsyncResult[Any]:
        """Send a call of a task by its name; the task need not be known here.

        Raises:
            As `Task.delay`.
        """
        return self.send(self.options_of(name), () if args is None else args, {} if kwargs is None else kwargs, call)

    def options_of(self, name: str) -> TaskOptions:
        """The options of the task of this name; those of any task where it is not known here."""
        task = self.tasks.find(name)
        if task is not None:
            return task.options
        # One value a name: the sender remembers what holds for an options value.
        options = self._foreign_options.get(name)
        if options is None:
            options = self._foreign_options.setdefault(name, TaskOptions(name=name))
        return options

    def signature(
        self, task: str, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None, **options: object
    ) -> AnySignature:
        """A signature of a task by its name."""
        return signature(task, args, kwargs, app=self).clone((), None, **options)

    @property
    def launcher(self) -> "Launcher":
        """Sends signatures (`amqtask.canvas.CanvasSender`)."""
        return self.parts.launcher

    def send(
        self, options: TaskOptions, args: Sequence[object], kwargs: Mapping[str, object], call: CallOptions
    ) -> AsyncResult[Any]:
        """Send one call (`amqtask.task.Sender`)."""
        return self.parts.sender.send(options, args, kwargs, call)

    def retry_policy(self, options: TaskOptions) -> RetryPolicy:
        """A task's retry options (`amqtask.task.Sender`)."""
        return self.parts.sender.effective(options).retry

    def seconds_until(self, instant: datetime) -> float:
        """Seconds from now; a naive instant is in the app's time zone (`amqtask.task.Sender`)."""
        return self.parts.sender.seconds_until(instant)

    def report(self, context: "Context", state: str, meta: object) -> None:
        """Keep a state of a running execution (`amqtask.task.Sender`)."""
        report(context, state, meta, self.backend)

    def batch(self) -> Batch:
        """`with app.batch():` calls do not wait one by one; see Batch."""
        return Batch(self.config.publish.window)

    def add_periodic_task(
        self, schedule: object, sig: Signature, *, name: str | None = None, **keys: "Unpack[EntryKeys]"
    ) -> "ScheduleEntry":
        """Have `amqtask beat` send a signature again and again; its `options` are those of the calls.

        `schedule` is seconds, a timedelta, a cron line, or one of `amqtask.schedules`. Without a name it goes by the
        signature's text.

        Raises:
            InvalidSchedule: the schedule says nothing.
            AlreadyRegistered: another periodic task has this name.
        """
        return self.periodic.add(schedule, sig, name, keys)

    @property
    def periodic(self) -> "Periodic":
        """The periodic tasks that code defines."""
        if self._periodic is None:
            self._periodic = importlib.import_module(PERIODIC).Periodic()
        return self._periodic

    # Results

    def AsyncResult(self, id: str) -> AsyncResult[Any]:  # noqa: A002, N802 - Celery's names
        """The handle of a task's result by the task's id."""
        return AsyncResult(id, self.parts.results)

    @property
    def backend(self) -> "ResultBackend":
        """Where results are kept."""
        return self.parts.results.backend

    @property
    def control(self) -> "AppControl":
        """Remote control of the nodes: `app.control.inspect().active()`, `app.control.rate_limit(…)`."""
        return self.parts.control

    @property
    def events(self) -> "AppEvents":
        """What nodes and tasks tell: `app.events.receiver(handlers={"task-failed": …})`."""
        return self.parts.events

    # Configuration and parts

    def configure(self, source: ConfigSource | None = None, overrides: Sequence[str] = ()) -> None:
        """Give another source of the configuration, and settings (`a.b=value`) that beat it. Before the app is used."""
        with self._lock:
            if self._parts is not None:
                raise RuntimeError(f"{self.name} is in use; configure it before")
            if source is not None:
                self._source = source
            self._overrides.extend(overrides)

    @property
    def config(self) -> "Config":
        """The configuration.

        Raises:
            ConfigError: with all its mistakes.
        """
        return self.parts.loaded.config

    @property
    def loaded_config(self) -> "LoadedConfig":
        """The configuration and where each value came from."""
        return self.parts.loaded

    @property
    def topology(self) -> "Topology":
        """The exchanges, queues and bindings of the configuration."""
        return self.parts.topology

    @property
    def router(self) -> "Router":
        """Finds each task's way."""
        return self.parts.router

    @property
    def publisher(self) -> "Publisher":
        """This process's publisher; connects when it is first used."""
        return self.parts.publisher

    @property
    def session_options(self) -> "SessionOptions":
        """How to connect to the broker."""
        return self.parts.session_options

    @property
    def parts(self) -> "Parts":
        """The app's parts in this process; a forked process makes its own, because connections cannot be shared."""
        parts = self._parts
        if parts is not None and self._pid == os.getpid():
            return parts
        with self._lock:
            return self._build()

    def _build(self) -> "Parts":
        if self._closed:
            raise AppClosed(f"{self.name} was closed; make another App to go on")
        if self._parts is None or self._pid != os.getpid():
            assembly = importlib.import_module(ASSEMBLY)
            loaded = self._parts.loaded if self._parts is not None else self._read(self._source, self._overrides)
            self._parts = assembly.Parts(self, loaded, origin=assembly.origin())
            self._pid = os.getpid()
        return self._parts

    def load_tasks(self, modules: Sequence[str] = ()) -> None:
        """Import the modules that define tasks: those of `imports:` in the configuration, and these."""
        for module in (*self.config.imports, *modules):
            import_module(module)
        self.on_after_configure.call(self)

    # Workers

    def worker(self, queues: Sequence[str] = (), **options: "Unpack[BackgroundOptions]") -> "BackgroundWorker":
        """A worker on a background thread, for tests and notebooks: `with app.worker():`.

        It consumes these queues, or those of the configuration; see `amqtask.testing.worker.BackgroundWorker`.
        """
        made: BackgroundWorker = importlib.import_module(BACKGROUND).BackgroundWorker(self, queues=queues, **options)
        return made

    def eager(self) -> "AbstractContextManager[None]":
        """`with app.eager():` calls run in this process at once, without a broker; see `amqtask.testing.eager`."""
        return importlib.import_module(EAGER).eager(self)  # type: ignore[no-any-return]

    def worker_main(self, arguments: Sequence[str] | None = None) -> NoReturn:
        """Be the program `amqtask worker` for this app, with these arguments or those of the command line.

        For scripts: `if __name__ == "__main__": app.worker_main()`. The app must be a variable of a module.
        """
        given = sys.argv[1:] if arguments is None else arguments
        sys.exit(importlib.import_module(CLI).run(["worker", "-A", place_of(self), *given]))

    def close(self, timeout: float = 10.0) -> None:
        """See what is under way to its end, then close the connections. The app cannot be used any more."""
        with self._lock:
            self._closed = True
            parts, self._parts = self._parts, None
        if parts is not None and self._pid == os.getpid():
            parts.close(timeout)

    def __enter__(self) -> "App":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def place_of(app: App) -> str:
    """The `module:variable` by which another process finds an app; of a script the name that importing it gives.

    Raises:
        AppNotFound: it is no variable of a module.
    """
    # The script first: its own import of the same file would be another app.
    modules = [sys.modules["__main__"], *[module for name, module in sys.modules.items() if name != "__main__"]]
    for module in modules:
        for variable, value in list(getattr(module, "__dict__", {}).items()):
            if value is app:
                return f"{importable_name(module.__name__)}:{variable}"
    raise AppNotFound(f"{app.name} is no variable of a module, so the worker's processes could not import it")


def default_name(function: Callable[..., Any]) -> str:
    """A task's name where none is given: module and function; of a script the name that importing it would give."""
    return f"{importable_name(function.__module__)}.{function.__qualname__}"


def importable_name(module: str) -> str:
    """The name by which a module can be imported: the running script's is its file's."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    return spec.name if spec is not None else Path(file).stem if file else module


def _close_at_exit(reference: "weakref.ref[App]") -> None:
    app = reference()
    if app is not None:
        app.close()
