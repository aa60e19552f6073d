"""The briefing: what a node's agent must know of the app, as JSON that travels over the pipe of the process that
imported it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from amqtask.core.address import Address, Tls
from amqtask.core.backoff import Backoff
from amqtask.core.message import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Briefing:
    """How to reach the broker, what to listen to, and what to tell those who ask.

    `conf` is the configuration with its secrets masked, `conf_given` what of it was written. Times are seconds.
    """

    addresses: tuple[Address, ...] = field(repr=False)
    driver: str
    shuffle: bool
    connect_timeout: float
    backoff: Backoff
    control: bool
    control_exchange: str
    reply_timeout: float
    secret: str | None = field(repr=False)
    events: bool
    events_exchange: str
    heartbeat: float
    create_queues: bool
    version: str
    report: str
    conf: Mapping[str, Json]
    conf_given: Mapping[str, Json]
    tasks: Mapping[str, Mapping[str, Json]]
    queues: Mapping[str, Mapping[str, Json]]
    commands: tuple[Mapping[str, Json], ...]
    """Those that the app defines: name, kind, help and parameters."""

    def fact(self, name: str) -> Json:
        """What is told of the node under this name."""
        facts: dict[str, Json] = {
            "conf": dict(self.conf),
            "conf_given": dict(self.conf_given),
            "report": self.report,
            "events": self.events,
            "commands": [dict(command) for command in self.commands],
        }
        return facts[name]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, form: Mapping[str, Any]) -> "Briefing":
        """From what `to_json` gave."""
        values = {field.name: form[field.name] for field in fields(cls)}
        values["addresses"] = tuple(_address(address) for address in form["addresses"])
        values["backoff"] = Backoff(**form["backoff"])
        values["commands"] = tuple(form["commands"])
        return cls(**values)


def _address(form: Mapping[str, Any]) -> Address:
    tls = form["tls"]
    return Address(**{**form, "tls": None if tls is None else Tls(**tls)})
