"""The section `broker`: where it is and how to reach it."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from amqtask.config.objects import Declare
from amqtask.config.section import SECRET, Section, wrong
from amqtask.config.uses import DEFAULT_URL, EMBEDDED, BrokerUses
from amqtask.config.values import Duration
from amqtask.core.address import MEMORY, parse_url


class ReconnectConfig(Section):
    """Back-off between attempts to connect: exponential, from `initial` to `max`."""

    initial: Duration = Field(default=0.5, description="The first wait.")
    max: Duration = Field(default=30.0, description="The longest wait.")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="The share of each wait that is random, so that clients do not come back all at once."
    )

    @model_validator(mode="after")
    def _ordered(self) -> "ReconnectConfig":
        if self.initial > self.max:
            raise wrong("initial", "initial is longer than max")
        return self


class TlsConfig(Section):
    """TLS; a broker URL that begins with amqps:// turns it on."""

    ca_file: str | None = Field(
        default=None, description="PEM file of the authorities to trust; the system's by default."
    )
    cert_file: str | None = Field(default=None, description="PEM file of the client's certificate.")
    key_file: str | None = Field(default=None, description="PEM file of the client's key.")
    verify: bool = Field(default=True, description="Verify the server's certificate and name.")
    server_name: str | None = Field(
        default=None, description="The name to ask for and to verify; the URL's host by default."
    )

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> "TlsConfig":
        if self.key_file is not None and self.cert_file is None:
            raise wrong("key_file", "key_file without cert_file")
        return self


def _broker_url(url: str) -> str:
    if url != EMBEDDED:
        parse_url(url)
    return url


BrokerUrl: TypeAlias = Annotated[str, AfterValidator(_broker_url), SECRET]


class BrokerConfig(BrokerUses, Section):
    """The broker and how to reach it."""

    url: BrokerUrl | None = Field(
        default=None,
        repr=False,
        description=f"amqp://user:password@host:port/vhost; {DEFAULT_URL} where url and urls are absent.",
    )
    urls: Annotated[tuple[BrokerUrl, ...], Field(min_length=1)] | None = Field(
        default=None, repr=False, description="Several URLs of one cluster, instead of url."
    )
    failover: Literal["order", "shuffle"] = Field(default="order", description="In which order the URLs are tried.")
    driver: Literal["pika", "amqp", "memory"] = Field(
        default="pika", description="The AMQP library; memory:// URLs have a driver of their own, memory."
    )
    heartbeat: Duration = Field(default=15.0, description="Seconds between signs of life; 0 turns them off.")
    connect_timeout: Duration = Field(default=5.0, description="The longest wait for one connection.")
    start_timeout: Duration = Field(
        default=30.0, description="How long a worker tries to reach the broker when it starts, before it gives up."
    )
    reconnect: ReconnectConfig = Field(default=ReconnectConfig(), description="Back-off between attempts.")
    tls: TlsConfig | None = Field(default=None, description="TLS options for amqps:// URLs.")
    mechanism: Literal["PLAIN", "EXTERNAL"] = Field(
        default="PLAIN", description="PLAIN: user and password; EXTERNAL: the client certificate."
    )
    declare: Declare = Field(
        default="always",
        description="What is done on connect: always declare, verify that all is there, or never look.",
    )
    management: Annotated[str, SECRET] | None = Field(
        default=None, repr=False, description="URL of the management API, with user and password."
    )

    @model_validator(mode="before")
    @classmethod
    def _driver_of_memory(cls, value: object) -> object:
        if isinstance(value, dict) and str(value.get("url")).startswith(f"{MEMORY}:"):
            return {"driver": MEMORY, **value}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "BrokerConfig":
        if self.url is not None and self.urls is not None:
            raise wrong("urls", "write url or urls, not both")
        if self.embedded and self.urls is not None and len(self.urls) > 1:
            raise wrong("urls", "embedded: stands alone")
        if any(url.startswith(f"{MEMORY}:") is not (self.driver == MEMORY) for url in self.given()):
            raise wrong("driver", "the driver memory is for a memory:// URL, and for nothing else")
        secure = any(url.startswith("amqps:") for url in self.given())
        if self.tls is not None and not secure:
            raise wrong("tls", "tls options, but no URL begins with amqps://")
        if self.mechanism == "EXTERNAL" and not (secure and self.tls is not None and self.tls.cert_file):
            raise wrong("mechanism", "mechanism EXTERNAL needs an amqps:// URL and tls.cert_file")
        return self
