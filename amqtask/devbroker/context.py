"""Context: what every part of a broker shares."""

from amqtask.devbroker.emulate import Profile
from amqtask.devbroker.journal import Journal
from amqtask.devbroker.timers import Timers


class Context:
    """The time, the memory in use, what is to happen later, and where things are written down.

    `now` is in seconds since the epoch and moves only by `Broker.advance`, which is on its way to `horizon`;
    `memory` is in bytes.
    """

    __slots__ = ("horizon", "journal", "memory", "now", "profile", "timers")

    def __init__(self, now: float, profile: Profile, journal: Journal) -> None:
        self.now = now
        self.horizon = now
        self.profile = profile
        self.journal = journal
        self.timers = Timers()
        self.memory = 0
