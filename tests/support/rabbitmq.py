"""A private RabbitMQ for tests that break it."""

import itertools
import json
import re
from collections import deque
from collections.abc import Iterable
from functools import cached_property

from amqtask.testing.rabbitmq import PrivateRabbitMQ

MESSAGE_SIZE_MAX = 134_217_728
ACKNOWLEDGEMENT_MAX = 1_800_000
CHANNEL_TICK = 60_000

VHOSTS_AT_ONCE = 8
"""rabbitmqctl starts an Erlang machine, which takes longer than what it is asked for."""

_numbers = itertools.count(1)


class RabbitNode(PrivateRabbitMQ):
    """A private node with what only tests do to a broker."""

    @cached_property
    def _vhosts(self) -> deque[str]:
        """Virtual hosts that nobody used yet."""
        return deque()

    def kill9(self) -> None:
        # It may forget what it was told last.
        self._vhosts.clear()
        super().kill9()

    def fresh_vhost(self) -> str:
        """The URL of a new virtual host that nobody used."""
        if not self._vhosts:
            names = [f"t{next(_numbers)}" for _ in range(VHOSTS_AT_ONCE)]
            self.ctl(
                "eval",
                '[begin ok = rabbit_vhost:add(Name, <<"test">>), rabbit_auth_backend_internal:set_permissions('
                '<<"guest">>, Name, <<".*">>, <<".*">>, <<".*">>, <<"test">>) end || Name <- ['
                + ", ".join(f'<<"{name}">>' for name in names)
                + "]].",
            )
            self._vhosts.extend(names)
        return self.url + self._vhosts.popleft()

    def close_connections(self, reason: str = "closed by a test") -> None:
        """Make the broker close all connections, with 320 CONNECTION_FORCED."""
        self.ctl("close_all_connections", "--global", reason)

    def remember_quorum_queues(self) -> None:
        """Write down which quorum queues there are, before a `kill9`.

        RabbitMQ 3.10 does so some seconds after a declaration (`ra_directory` is a dets table). A node that is killed
        before comes up with an empty log for the queue and elects no leader: confirmed messages are gone, and whoever
        consumes gets no answer.
        """
        self.ctl("eval", "dets:sync(ra_directory_reverse).")

    def queue_depth(self, queue: str, vhost: str = "/") -> int:
        """How many messages the queue holds, ready or unacknowledged."""
        lines = self.ctl("list_queues", "-p", vhost, "--no-table-headers", "name", "messages").splitlines()
        return next(int(count) for name, _, count in (line.partition("\t") for line in lines) if name == queue)

    def limit_message_size(self, size: int | None) -> None:
        """Refuse messages above so many bytes; None is RabbitMQ's own limit."""
        self.ctl("eval", f"application:set_env(rabbit, max_message_size, {size or MESSAGE_SIZE_MAX}).")

    def limit_acknowledgement(self, seconds: float | None) -> None:
        """Wait no longer than this for acknowledgements on channels opened from now on; None is RabbitMQ's own limit.

        RabbitMQ looks once a minute; here it looks as often as that.
        """
        limit, tick = (int(seconds * 1000),) * 2 if seconds else (ACKNOWLEDGEMENT_MAX, CHANNEL_TICK)
        self.ctl(
            "eval",
            f"application:set_env(rabbit, consumer_timeout, {limit}),"
            f" application:set_env(rabbit, channel_tick_interval, {tick}).",
        )

    def capabilities(self, name: str) -> set[str]:
        """What the client of this connection says that it can do."""
        lines = self.ctl("list_connections", "client_properties").splitlines()
        return set(re.findall(r'"([\w.]+)",true', next(line for line in lines if name in line)))

    def cut_off(self) -> None:
        """Let this member of a cluster and the others hear nothing of each other until `reach`."""
        self.ctl("eval", "[{erlang:set_cookie(Node, cut), erlang:disconnect_node(Node)} || Node <- nodes()].")

    def reach(self, others: Iterable["RabbitNode"]) -> None:
        """End a `cut_off`."""
        names = ", ".join(f"'{other.name}'" for other in others)
        self.ctl(
            "eval",
            f"[{{erlang:set_cookie(Node, erlang:get_cookie()), net_kernel:connect_node(Node)}} || Node <- [{names}]].",
        )

    def running_members(self) -> int:
        """How many members of its cluster run, as this one sees it."""
        return len(json.loads(self.ctl("cluster_status", "--formatter", "json"))["running_nodes"])

    def heal(self) -> None:
        """Undo what a test may have done: frozen, alarmed or dead."""
        self.resume()
        if self.is_running:
            self.clear_alarm()
        else:
            self.start()
