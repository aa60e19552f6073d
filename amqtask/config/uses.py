"""What sections of the configuration can do, whether they are models or sheets."""

import fnmatch
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from amqtask.core.address import EMBEDDED_VARIABLE, Address, Tls, parse_url
from amqtask.errors import ConfigError, Problem

DEFAULT_URL = "amqp://guest:guest@localhost:5672/"
EMBEDDED = "embedded:"
NOT_EMBEDDED = Problem(
    message="broker.url is embedded: a broker that lives in the program which uses it, and this is another program",
    hint="amqtask worker and amqtask dev show the URL of theirs; give it in AMQTASK_BROKER_URL",
)


class BrokerUses:
    """The brokers of the section `broker`."""

    url: str | None
    urls: tuple[str, ...] | None
    heartbeat: float
    mechanism: Any
    tls: Any

    @property
    def embedded(self) -> bool:
        """Whether the broker is to run inside amqtask: the reserved URL `embedded:`."""
        return EMBEDDED in self.given()

    def addresses(self) -> tuple[Address, ...]:
        """The brokers in the order in which they are written.

        Raises:
            ConfigError: the URL is `embedded:`, and neither this program nor one that started it has such a broker.
        """
        if not self.embedded:
            return tuple(self._address(url) for url in self.given())
        url = os.environ.get(EMBEDDED_VARIABLE)
        if not url:
            raise ConfigError([NOT_EMBEDDED])
        return (self._address(url),)

    def given(self) -> tuple[str, ...]:
        """The URLs as they are written."""
        return self.urls or (self.url or DEFAULT_URL,)

    def _address(self, url: str) -> Address:
        address = parse_url(url)
        tls = address.tls
        if tls is not None and self.tls is not None:
            tls = Tls(**{name: getattr(self.tls, name) for name in Tls.__dataclass_fields__})
        # AMQP counts heartbeats in whole seconds; rounding a short one down would turn it off.
        return replace(address, heartbeat=math.ceil(self.heartbeat), mechanism=self.mechanism, tls=tls)


class TasksUses:
    """The annotations of the section `tasks`."""

    annotations: Any

    def annotated(self, task: str) -> Mapping[str, object]:
        """The settings that `annotations` gives to this task: only those that are written."""
        settings: dict[str, object] = {}
        for pattern, given in self.annotations.items():
            if pattern == task or fnmatch.fnmatchcase(task, pattern):
                settings.update({name: getattr(given, name) for name in given.model_fields_set})
        return settings
