"""A health port: GET answers 200 while the process consumes, and 503 while it does not, with what runs as JSON."""

import http.server
import json
import threading

from amqtask import Component, WorkerProcess


class HealthPort(Component):
    """Process k of the worker listens on `port` + k, for load balancers and Kubernetes' probes."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host

    def start(self, process: WorkerProcess) -> None:
        """Listen, on a thread of its own. The process does not start if the port is taken."""
        self._server = http.server.ThreadingHTTPServer((self.host, self.port + process.index), handler_of(process))
        self._thread = threading.Thread(target=self._server.serve_forever, name="health-port", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def report(process: WorkerProcess) -> tuple[int, dict[str, object]]:
    """The HTTP status and the answer."""
    healthy = process.is_connected and not process.is_stopping
    return (200 if healthy else 503), {
        "node": process.worker.node,
        "process": process.index,
        "connected": process.is_connected,
        "stopping": process.is_stopping,
        "processed": process.processed,
        "running": [{"id": task.id, "name": task.name, "seconds": task.seconds} for task in process.running()],
    }


def handler_of(process: WorkerProcess) -> type[http.server.BaseHTTPRequestHandler]:
    """What answers requests about a process."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, answer = report(process)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing: probes come every few seconds."""

    return Handler
