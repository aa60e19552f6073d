"""A private RabbitMQ for tests that break it."""

import itertools

from amqtask.testing.rabbitmq import PrivateRabbitMQ

_numbers = itertools.count(1)


class RabbitNode(PrivateRabbitMQ):
    """A private node with what only tests do to a broker."""

    def fresh_vhost(self) -> str:
        """The URL of a new virtual host that nobody used."""
        return self.add_vhost(f"t{next(_numbers)}")

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

    def heal(self) -> None:
        """Undo what a test may have done: frozen, alarmed or dead."""
        self.resume()
        if self.is_running:
            self.clear_alarm()
        else:
            self.start()
