"""Drivers over TLS: on a private node with certificates of an authority of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from amqtask.core.address import Tls, parse_url
from amqtask.core.message import Envelope
from amqtask.drivers import load_driver
from amqtask.errors import AuthenticationFailed, ConnectionFailed
from amqtask.testing.rabbitmq import find_server, free_ports
from tests.contract.conftest import DRIVERS, Rig
from tests.support.certificates import Certificates, make_certificates
from tests.support.rabbitmq import RabbitNode
from tests.support.recorder import poll_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Secure:
    """A node with a TLS port."""

    node: RabbitNode
    port: int
    files: Certificates


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    """A node that speaks TLS and takes clients by their certificates too."""
    if find_server() is None:
        pytest.skip("TLS is tested on a private node, and no rabbitmq-server is installed")
    files = make_certificates(tmp_path_factory.mktemp("certificates"))
    (port,) = free_ports(1)
    settings = {
        "listeners.ssl.local": f"127.0.0.1:{port}",
        "ssl_options.cacertfile": files.ca,
        "ssl_options.certfile": files.server,
        "ssl_options.keyfile": files.server_key,
        "ssl_options.verify": "verify_peer",
        "ssl_options.fail_if_no_peer_cert": "false",
        "auth_mechanisms.1": "PLAIN",
        "auth_mechanisms.2": "EXTERNAL",
        "ssl_cert_login_from": "common_name",
    }
    with RabbitNode(plugins=["rabbitmq_auth_mechanism_ssl"], settings=settings) as node:
        yield Secure(node=node, port=port, files=files)


@pytest.fixture(params=DRIVERS)
def rig(request: pytest.FixtureRequest, secure: Secure) -> Iterator[Rig]:
    """A driver on the TLS port."""
    made = Rig(load_driver(request.param), parse_url(f"amqps://localhost:{secure.port}"))
    yield made
    for connection in made.opened:
        connection.close()


def test_messages_of_all_sizes_travel_over_tls(rig: Rig, secure: Secure) -> None:
    connection, channel, sink = rig.channel(tls=Tls(ca_file=secure.files.ca))
    queue = rig.queue(channel)
    channel.consume(queue, no_ack=True, exclusive=False, arguments={})
    # One record of TLS holds 16 KiB; a read may leave decrypted octets that no poll of the socket shows.
    bodies = [b"x" * size for size in (0, 1, 16_383, 16_384, 16_385, 200_000, 2_000_000)] * 3

    for body in bodies:
        channel.publish(Envelope(body=body), "", queue, mandatory=True)
    poll_until(connection, lambda: len(sink.deliveries) == len(bodies))

    assert sink.bodies == bodies


def test_a_certificate_can_stand_for_the_password(rig: Rig, secure: Secure) -> None:
    tls = Tls(ca_file=secure.files.ca, cert_file=secure.files.client, key_file=secure.files.client_key)

    connection = rig.connect(tls=tls, mechanism="EXTERNAL", user="nobody", password="nothing")

    assert connection.server.startswith("RabbitMQ")
    assert "guest" in secure.node.ctl("list_connections", "user", "auth_mechanism", "ssl")


def test_external_without_a_certificate_is_an_authentication_failure(rig: Rig, secure: Secure) -> None:
    with pytest.raises(AuthenticationFailed):
        rig.connect(tls=Tls(ca_file=secure.files.ca), mechanism="EXTERNAL")


def test_a_certificate_of_an_unknown_authority_is_refused(rig: Rig) -> None:
    with pytest.raises(ConnectionFailed, match="certificate is not trusted"):
        rig.connect(tls=Tls())


def test_a_certificate_of_another_name_is_refused_unless_the_name_is_told(rig: Rig, secure: Secure) -> None:
    with pytest.raises(ConnectionFailed, match="certificate is not trusted: Hostname mismatch"):
        rig.connect(tls=Tls(ca_file=secure.files.ca, server_name="rabbit.example"))

    assert rig.connect(host="127.0.0.1", tls=Tls(ca_file=secure.files.ca, server_name="localhost"))


def test_verification_can_be_turned_off(rig: Rig) -> None:
    assert rig.connect(tls=Tls(verify=False))


def test_a_missing_file_is_named(rig: Rig, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")

    with pytest.raises(ConnectionFailed, match=r"cannot use the TLS files .*missing\.pem"):
        rig.connect(tls=Tls(ca_file=missing))


def test_tls_to_a_port_without_it_is_a_failed_connection(rig: Rig, secure: Secure) -> None:
    with pytest.raises(ConnectionFailed, match="cannot reach amqps://"):
        rig.connect(port=secure.node.port, tls=Tls(verify=False), timeout=20.0)


def test_no_tls_to_a_port_with_it_is_a_failed_connection(rig: Rig) -> None:
    with pytest.raises(ConnectionFailed, match="cannot reach amqp://"):
        rig.connect(tls=None)
