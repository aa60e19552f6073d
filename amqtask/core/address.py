"""Where a broker is and how to log in: an AMQP URI as a value that never shows its password.

`memory://NAME/vhost` is a broker object of this name in the same process (`amqtask.devbroker.local`).
"""

from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit

MEMORY = "memory"
EMBEDDED_VARIABLE = "AMQTASK_EMBEDDED_URL"
"""The environment variable that holds the URL of the broker which a program or its parent has embedded."""
DEFAULT_PORTS = {"amqp": 5672, "amqps": 5671, MEMORY: 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """TLS options: paths of PEM files, and whether the server's certificate and name are verified."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One broker.

    `heartbeat` is seconds (0 turns it off); `mechanism` is PLAIN or EXTERNAL; `tls` is None for plain TCP. With
    `in_memory` the host is the name of a broker in this process, and there is no port.
    """

    host: str = "localhost"
    port: int = 5672
    vhost: str = "/"
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    heartbeat: int = 15
    mechanism: str = "PLAIN"
    tls: Tls | None = None
    name: str = "amqtask"
    in_memory: bool = False

    def __str__(self) -> str:
        """The URI with the password masked."""
        if self.in_memory:
            return f"{MEMORY}://{quote(self.host, safe='')}/{'' if self.vhost == '/' else quote(self.vhost, safe='')}"
        scheme = "amqps" if self.tls else "amqp"
        vhost = "" if self.vhost == "/" else quote(self.vhost, safe="")
        return f"{scheme}://{quote(self.user, safe='')}:***@{self.host}:{self.port}/{vhost}"

    def named(self, name: str) -> "Address":
        """The same address under another connection name, as RabbitMQ's management shows it."""
        return replace(self, name=name)


def parse_url(url: str) -> Address:
    """An `amqp://`, `amqps://` or `memory://` URI as an Address: an absent path is the vhost "/".

    RabbitMQ's "URI specification" says what is in it.

    Raises:
        ValueError: the text is no such URI; the message never repeats the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError(f"a broker URL starts with amqp:// or amqps://, not {parts.scheme or 'nothing'}://")
    if parts.query or parts.fragment:
        raise ValueError("a broker URL has no ?query and no #fragment; in a password write %3F and %23")
    try:
        port = parts.port or DEFAULT_PORTS[parts.scheme]
    except ValueError:
        raise ValueError("the port of the broker URL is not a number between 0 and 65535") from None
    path = parts.path[1:]
    if "/" in path:
        raise ValueError("the virtual host of the broker URL holds a slash; write it as %2F")
    return Address(
        host=unquote(parts.hostname or "localhost"),
        port=port,
        vhost=unquote(path) or "/",
        user=unquote(parts.username) if parts.username is not None else "guest",
        password=unquote(parts.password) if parts.password is not None else "guest",
        tls=Tls() if parts.scheme == "amqps" else None,
        in_memory=parts.scheme == MEMORY,
    )
