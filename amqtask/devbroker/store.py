import pathlib
from amqtask.devbroker.broker import Broker
from amqtask.devbroker.journal import Forgetful


class Store(Forgetful):
    @classmethod
    def open(cls, folder: pathlib.Path) -> "Store":
        return cls()

    def restore(self, broker: Broker) -> None: ...
    def close(self) -> None: ...
