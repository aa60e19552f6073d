"""Deaths: what a process knows of processes of its node that died while they executed a message."""

from collections.abc import Mapping

from amqtask.core.admission import NO_DEATHS
from amqtask.core.crashes import Tally, merged, read_tally
from amqtask.core.request import Request

GRACE = 1.0
"""Seconds that a suspicious message is held before it is judged.

One that killed a process goes on as a copy: the acknowledgement of the first, which this very process may have to
write, must be written before the copy can kill it, or there would be two. And a redelivered message of a task that must
not run twice is given to the next consumer as soon as the connection is gone; that its process died is known later.
"""


class Deaths:
    """Counts by the task's id; the supervisor tells of them."""

    def __init__(self, era: str, counts: Mapping[str, int]) -> None:
        """`era` names the supervisor that counts: another one of the same node begins anew."""
        self._era = era
        self._counts = dict(counts)

    def note(self, counts: Mapping[str, int]) -> None:
        """Processes died while they executed these: how many altogether, by id."""
        self._counts.update(counts)

    def of(self, request: Request) -> Tally:
        """What its headers say, and what is known here. A message that nobody had before cannot have died here."""
        tally = read_tally(request.delivery.envelope.headers) if request.crashes else NO_DEATHS
        if not request.redelivered:
            return tally
        return merged(tally, self._era, self._counts.get(request.id, 0))
