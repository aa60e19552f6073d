"""Standing orders: what was last set on a node by remote control, as values that outlive the process they were set in.

One order a key, the last one counts. A process that starts later gets all of them; what is to last longer than the node
is kept in the control log in the same form.
"""

import collections
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from amqtask.core.message import Json

REVOKE_FOR = 7 * 86_400.0
"""Seconds for which a revoke is remembered: what is delayed may be due in days."""
MOST_REVOKED = 50_000

ALWAYS_KEPT = frozenset({"revoke", "revoke_root", "revoke_by_stamped_headers", "pause", "resume"})
"""Commands whose orders go to the control log although nobody asks for it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order: the command that gave it, its arguments, and when (seconds since the epoch)."""

    method: str
    arguments: Mapping[str, Json]
    at: float

    def to_json(self) -> dict[str, Json]:
        """As JSON."""
        return {"method": self.method, "arguments": dict(self.arguments), "at": self.at}

    @classmethod
    def from_json(cls, form: Mapping[str, object]) -> "Order":
        """From what `to_json` gave.

        Raises:
            ValueError: it is not that.
        """
        method, arguments, at = form.get("method"), form.get("arguments"), form.get("at")
        if not isinstance(method, str) or not isinstance(arguments, dict) or not isinstance(at, (int, float)):
            raise ValueError("not an order: it has no method, arguments and time")  # noqa: TRY004 - it is data
        return cls(method, arguments, float(at))


def orders(method: str, arguments: Mapping[str, Json], at: float) -> Iterator[tuple[str, Order | None]]:
    """The keys that a command sets, each with its order; None where it takes the order away."""
    match method:
        case "revoke" | "terminate":
            for task_id in texts(arguments.get("task_id")):
                yield f"revoke:{task_id}", Order("revoke", {"task_id": task_id}, at)
        case "revoke_root":
            for root_id in texts(arguments.get("root_id")):
                yield f"root:{root_id}", Order(method, {"root_id": root_id}, at)
        case "revoke_by_stamped_headers":
            headers = arguments.get("headers")
            for name, values in headers.items() if isinstance(headers, dict) else ():
                for value in texts(values):
                    yield f"stamped:{name}={value}", Order(method, {"headers": {name: value}}, at)
        case "rate_limit" | "time_limit":
            yield f"{method}:{arguments.get('task_name')}", Order(method, arguments, at)
        case "add_consumer" | "cancel_consumer":
            yield f"consumer:{arguments.get('queue')}", Order(method, arguments, at)
        case "pause":
            yield f"pause:{arguments.get('queue')}", Order(method, arguments, at)
        case "resume":
            yield f"pause:{arguments.get('queue')}", None
        case "enable_events" | "disable_events":
            yield "events", Order(method, {}, at)


def texts(value: object) -> list[str]:
    """One or several texts as a list; numbers are written out."""
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


class Standing:
    """The orders that hold, by key. Revokes are bounded in number and age."""

    def __init__(self) -> None:
        self._orders: collections.OrderedDict[str, Order] = collections.OrderedDict()
        self._revoked = 0

    def __len__(self) -> int:
        return len(self._orders)

    def put(self, key: str, order: Order | None) -> None:
        """Have an order hold under a key; None takes it away."""
        old = self._orders.pop(key, None)
        if old is not None and is_revoke(old):
            self._revoked -= 1
        if order is None:
            return
        self._orders[key] = order
        if is_revoke(order):
            self._revoked += 1
            if self._revoked > MOST_REVOKED:
                self._forget_oldest_revoke()

    def items(self, now: float) -> list[tuple[str, Order]]:
        """What holds at `now`, oldest first; revokes that are too old are forgotten."""
        for key, order in list(self._orders.items()):
            if is_revoke(order) and order.at + REVOKE_FOR < now:
                self.put(key, None)
        return list(self._orders.items())

    def _forget_oldest_revoke(self) -> None:
        oldest = next(key for key, order in self._orders.items() if is_revoke(order))
        self.put(oldest, None)


def is_revoke(order: Order) -> bool:
    """Whether it has a task not started; such orders are many, and are forgotten in time."""
    return order.method in ("revoke", "revoke_root", "revoke_by_stamped_headers")
