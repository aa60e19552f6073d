"""FaultPage: faults on demand over HTTP, for tests in any language and for a developer with a browser.

On loopback only.

    GET  /                    a page with buttons
    GET  /state               queues, connections, faults and the clock as JSON
    POST /faults              {"drop_confirms": 3, ...}: the fields of Faults; the others stay as they are
    POST /faults/clear
    POST /block               {"reason": "..."}
    POST /unblock
    POST /close               {"connection": 1, "channel": 1, "code": 320, "reason": "..."}; no channel: the connection
    POST /clock               {"advance": 3600}: seconds
    POST /vhosts              {"name": "..."}: a virtual host, made if need be

A web page of somebody else must not be able to use it from the developer's browser: a request needs a Host that is
loopback, and a POST the content type application/json, which other pages cannot send.
"""

import asyncio
import html
import ipaddress
import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, Protocol

from amqtask.devbroker.broker import Broker
from amqtask.devbroker.errors import HardError, SoftError
from amqtask.devbroker.faults import Faults

BODY_MAX = 64 * 1024
READ_TIMEOUT = 10.0

Answer = tuple[int, str, str]
"""Status, content type, body."""

_SECONDS = ("confirm_delay", "consumer_timeout")
"""Faults that are times; the others are counts and sizes."""
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
}


class Served(Protocol):
    """The server that the page belongs to. Its methods are called in the server's thread."""

    @property
    def broker(self) -> Broker: ...
    def turn_clock(self, seconds: float) -> None: ...
    def schedule_flush(self) -> None: ...


class FaultPage:
    """The HTTP side of a broker."""

    def __init__(self, served: Served, listener: asyncio.Server) -> None:
        self._served = served
        self._listener = listener
        self.port: int = listener.sockets[0].getsockname()[1]

    @classmethod
    async def serve(cls, served: Served, port: int) -> "FaultPage":
        """Listen on 127.0.0.1. Raises OSError if the port is taken."""
        listener = await asyncio.start_server(
            lambda reader, writer: _converse(served, reader, writer), "127.0.0.1", port
        )
        return cls(served, listener)

    async def close(self) -> None:
        self._listener.close()


async def _converse(served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request, one answer, and the end of the connection."""
    try:
        status, kind, body = await asyncio.wait_for(_request(served, reader), READ_TIMEOUT)
    except ConnectionError:
        # The browser has gone.
        writer.close()
        return
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        status, kind, body = 400, "text/plain", f"{error}\n"
    encoded = body.encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}",
        f"Content-Type: {kind}; charset=utf-8",
        f"Content-Length: {len(encoded)}",
        "Connection: close",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
        "\r\n",
    )
    writer.write("\r\n".join(head).encode() + encoded)
    served.schedule_flush()
    try:
        await writer.drain()
    except ConnectionError:
        # The browser has not waited for its answer.
        return
    finally:
        writer.close()


async def _request(served: Served, reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, *_ = [*head[0].split(" "), "", ""]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    if not _is_local(headers.get("host", "")):
        return 403, "text/plain", "this page is for loopback\n"
    if method == "GET":
        return _get(served, path)
    if method != "POST":
        return 405, "text/plain", "GET or POST\n"
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return 403, "text/plain", "content-type must be application/json\n"
    size = int(headers.get("content-length", "0"))
    if not 0 <= size <= BODY_MAX:
        return 413, "text/plain", "too large\n"
    given = json.loads(await reader.readexactly(size) or b"{}")
    if not isinstance(given, dict):
        return 400, "text/plain", "a JSON object, please\n"
    return _post(served, path, given)


def _get(served: Served, path: str) -> Answer:
    if path == "/":
        return 200, "text/html", _page(state(served.broker))
    if path == "/state":
        return 200, "application/json", _shown(served)
    return 404, "text/plain", "no such page\n"


def _post(served: Served, path: str, given: dict[str, Any]) -> Answer:
    action = _ACTIONS.get(path)
    if action is None:
        return 404, "text/plain", "no such action\n"
    try:
        action(served, given)
    except (KeyError, TypeError, ValueError) as error:
        return 400, "text/plain", f"{type(error).__name__}: {error}\n"
    return 200, "application/json", _shown(served)


def _shown(served: Served) -> str:
    return _text(state(served.broker)) + "\n"


def _text(seen: dict[str, Any]) -> str:
    # What a client says of itself may be what JSON does not have: bytes or a time.
    return json.dumps(seen, indent=1, default=str)


def state(broker: Broker) -> dict[str, Any]:
    """What a tester wants to see, as JSON has it."""
    return {
        "emulates": broker.context.profile.version,
        "now": broker.now,
        "alarm": broker.alarm,
        "memory": broker.context.memory,
        "faults": asdict(broker.faults),
        "queues": [
            {
                "vhost": host.name,
                "name": queue.name,
                "type": queue.spec.kind.value,
                "ready": queue.message_count,
                "unacked": queue.unacked,
                "consumers": len(queue.consumers),
            }
            for host in broker.vhosts.values()
            for queue in host.queues.values()
        ],
        "connections": [
            {
                "number": session.number,
                "name": session.name,
                "user": session.user,
                "vhost": session.vhost.name,
                "client": session.client_properties,
                "channels": list(session.channels),
            }
            for session in broker.sessions.values()
        ],
    }


def _set_faults(served: Served, given: dict[str, Any]) -> None:
    kinds = {field.name: field.type for field in fields(Faults)}
    for name, value in given.items():
        if name not in kinds:
            raise ValueError(f"no fault {name!r}; there are {', '.join(kinds)}")
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise TypeError(f"{name} must be a number")
    for name, value in given.items():
        setattr(served.broker.faults, name, float(value) if name in _SECONDS else int(value))


def _clear_faults(served: Served, given: dict[str, Any]) -> None:
    served.broker.faults.clear()


def _block(served: Served, given: dict[str, Any]) -> None:
    served.broker.block(str(given.get("reason", "low on memory")))


def _unblock(served: Served, given: dict[str, Any]) -> None:
    served.broker.unblock()


def _close(served: Served, given: dict[str, Any]) -> None:
    number, reason = int(given["connection"]), str(given.get("reason", "closed by the fault page"))
    if "channel" in given:
        served.broker.close_channel(number, int(given["channel"]), SoftError(int(given.get("code", 406)), reason))
    else:
        served.broker.close_connection(number, HardError(int(given.get("code", 320)), reason))


def _turn_clock(served: Served, given: dict[str, Any]) -> None:
    seconds = float(given["advance"])
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError("time goes forward, by a finite number of seconds")
    served.turn_clock(seconds)


def _add_vhost(served: Served, given: dict[str, Any]) -> None:
    served.broker.add_vhost(str(given["name"]))


_ACTIONS: dict[str, Callable[[Served, dict[str, Any]], None]] = {
    "/faults": _set_faults,
    "/faults/clear": _clear_faults,
    "/block": _block,
    "/unblock": _unblock,
    "/close": _close,
    "/clock": _turn_clock,
    "/vhosts": _add_vhost,
}

_BUTTONS: tuple[tuple[str, str, dict[str, int]], ...] = (
    ("Block publishers", "/block", {}),
    ("Unblock", "/unblock", {}),
    ("Drop the next confirm", "/faults", {"drop_confirms": 1}),
    ("Refuse the next publish", "/faults", {"refuse_publishes": 1}),
    ("Clear faults", "/faults/clear", {}),
    ("Clock + 1 minute", "/clock", {"advance": 60}),
    ("Clock + 1 hour", "/clock", {"advance": 3600}),
    ("Clock + 1 day", "/clock", {"advance": 86400}),
)
_SCRIPT = """
for (const button of document.querySelectorAll("button")) button.onclick = async () => {
  const answer = await fetch(button.dataset.path,
    {method: "POST", headers: {"Content-Type": "application/json"}, body: button.dataset.body});
  if (answer.ok) location.reload(); else alert(await answer.text());
};
"""


def _page(seen: dict[str, Any]) -> str:
    closers = tuple(
        (f"Close connection {it['number']}", "/close", {"connection": it["number"]}) for it in seen["connections"]
    )
    buttons = "\n".join(
        f'<button data-path="{path}" data-body="{html.escape(json.dumps(body))}">{html.escape(label)}</button>'
        for label, path, body in _BUTTONS + closers
    )
    shown = html.escape(_text(seen))
    head = "<!doctype html><title>devbroker faults</title><h1>devbroker</h1>"
    return f"{head}\n{buttons}\n<pre>{shown}</pre>\n<script>{_SCRIPT}</script>\n"


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
