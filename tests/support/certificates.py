"""A certificate authority, a server's and a client's certificate, made by `openssl`."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Paths of PEM files. The server is `localhost` and 127.0.0.1, the client `guest`."""

    ca: str
    server: str
    server_key: str
    client: str
    client_key: str


def make_certificates(folder: Path) -> Certificates:
    """Write them into `folder`; the test is skipped where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("TLS needs certificates, and there is no openssl to make them")
    _run(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem")
    _sign(folder, "server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    _sign(folder, "client", "guest", "extendedKeyUsage=clientAuth")
    return Certificates(
        ca=str(folder / "ca.pem"),
        server=str(folder / "server.pem"),
        server_key=str(folder / "server.key"),
        client=str(folder / "client.pem"),
        client_key=str(folder / "client.key"),
    )


def _sign(folder: Path, name: str, common_name: str, extension: str) -> None:
    (folder / f"{name}.ext").write_text(extension + "\n")
    _run(folder, f"req -newkey rsa:2048 -nodes -subj /CN={common_name} -keyout {name}.key -out {name}.csr")
    _run(
        folder,
        f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext "
        f"-out {name}.pem",
    )


def _run(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)
