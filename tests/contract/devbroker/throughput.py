"""How many messages a second pass one devbroker process.

`python -m tests.contract.devbroker.throughput 100000 [--data]`: a publisher with confirms, at most 1,000 unconfirmed,
and a consumer with prefetch 200 that acknowledges each message, both on plain sockets in processes of their own.
"""

import multiprocessing
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event

from pamqp import body, commands, exceptions, header
from pamqp import frame as pamqp_frame

WINDOW = 1000
BATCH = 100
ACK = struct.Struct(">BHIHHQBB")


class Client:
    """A connection with channel 1 open."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self._rest = b""
        self.socket.sendall(b"AMQP\0\0\x09\x01")
        self._wait()
        self.ask(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), channel=0)
        self.send(commands.Connection.TuneOk(2047, 131072, 0), channel=0)
        self.ask(commands.Connection.Open("/"), channel=0)
        self.ask(commands.Channel.Open())

    def send(self, *frames: pamqp_frame.FrameTypes, channel: int = 1) -> None:
        self.socket.sendall(b"".join(pamqp_frame.marshal(frame, channel) for frame in frames))

    def ask(self, *frames: pamqp_frame.FrameTypes, channel: int = 1) -> None:
        self.send(*frames, channel=channel)
        self._wait()

    def _wait(self) -> None:
        while True:
            try:
                size, _, _ = pamqp_frame.unmarshal(self._rest)
            except exceptions.UnmarshalingException:
                self._rest += self.socket.recv(65536)
            else:
                self._rest = self._rest[size:]
                return

    def frames(self) -> Iterator[list[tuple[int, bytes]]]:
        """Type and payload of all frames that have come, again and again."""
        while True:
            self._rest += self.socket.recv(262144)
            position, found = 0, []
            while len(self._rest) - position >= 8:
                kind, _, size = struct.unpack_from(">BHI", self._rest, position)
                if len(self._rest) - position < size + 8:
                    break
                found.append((kind, self._rest[position + 7 : position + 7 + size]))
                position += size + 8
            self._rest = self._rest[position:]
            yield found


def publish(port: int, count: int) -> None:
    client = Client(port)
    client.ask(commands.Confirm.Select())
    named = commands.Basic.Properties(
        content_type="application/json",
        delivery_mode=2,
        message_id="x" * 36,
        headers={"task": "a.b.c", "id": "x" * 36, "retries": 0, "eta": None},
    )
    message = b"".join(
        pamqp_frame.marshal(part, 1)
        for part in (
            commands.Basic.Publish(0, "", "q"),
            header.ContentHeader(0, 300, named),
            body.ContentBody(b"x" * 300),
        )
    )
    sent = confirmed = 0
    arriving = client.frames()
    while confirmed < count:
        if sent < count and sent - confirmed < WINDOW:
            client.socket.sendall(message * BATCH)
            sent += BATCH
        else:
            for _, payload in next(arriving):
                confirmed = struct.unpack_from(">Q", payload, 4)[0]


def consume(port: int, count: int, ready: Event) -> None:
    client = Client(port)
    client.ask(commands.Queue.Declare(0, "q", durable=True))
    client.ask(commands.Basic.Qos(0, 200))
    client.ask(commands.Basic.Consume(0, "q", "c"))
    ready.set()
    got = 0
    for frames in client.frames():
        before = got
        got += sum(kind == 3 for kind, _ in frames)
        client.socket.sendall(b"".join(ACK.pack(1, 1, 13, 60, 80, tag, 0, 0xCE) for tag in range(before + 1, got + 1)))
        if got >= count:
            return


def main() -> None:
    count = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        data = ["--data", folder] if "--data" in sys.argv else []
        command = [sys.executable, "-m", "amqtask.devbroker", "--port", "0", *data]
        broker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert broker.stdout is not None
        port = int(broker.stdout.readline().split(":")[-1].split("/")[0])
        ready = multiprocessing.Event()
        consumer = multiprocessing.Process(target=consume, args=(port, count, ready))
        publisher = multiprocessing.Process(target=publish, args=(port, count))
        consumer.start()
        ready.wait()
        started = time.perf_counter()
        publisher.start()
        consumer.join()
        passed = time.perf_counter() - started
        publisher.join()
        broker.terminate()
        broker.wait()
    sys.stdout.write(f"{count} messages in {passed:.2f} s: {count / passed:,.0f} a second\n")


if __name__ == "__main__":
    main()
