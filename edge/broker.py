"""The broker's settings, and a paho client made of them.

TLS is the rule for every broker that is not on this machine, and no password is ever part of a setting.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from edge.errors import SettingsError
from edge.events import MAX_PICTURE_BYTES

CONNECT_TIMEOUT_S = 5.0
MAX_RECEIVED = MAX_PICTURE_BYTES + 1024  # an MQTT 5 broker sends us nothing larger

_URI = re.compile(
    r"(?P<scheme>mqtts?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?/?"
)


class BrokerSettings(BaseModel):
    """Where the broker is and how we prove who we are. Passwords live in files only."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    uri: str = Field(
        default="mqtt://127.0.0.1:1883",
        description="The broker: mqtts://HOST[:PORT], or mqtt://HOST[:PORT] on this machine.",
        json_schema_extra={"flag": "--broker"},
    )
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="MQTT version the broker speaks.")
    username: str | None = Field(default=None, description="Login name.")
    password_file: Path | None = Field(
        default=None, description="File with the password, or the name of a systemd credential."
    )
    ca_file: Path | None = Field(
        default=None, description="PEM file of the authority that signed the broker's certificate."
    )
    cert_file: Path | None = Field(default=None, description="PEM file of our own certificate.")
    key_file: Path | None = Field(default=None, description="PEM file of our certificate's key.")
    keepalive: Annotated[int, Field(ge=2, le=3600)] = Field(
        default=20, description="Seconds of silence after which the connection is tested."
    )
    allow_plaintext: bool = Field(
        default=False, description="Allow mqtt:// without TLS to a broker on another machine."
    )

    @field_validator("protocol", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, (int, float)) else value

    # On the whole model, not on `uri`: a mistake of a field is reported with its value, and this one may
    # hold somebody's password.
    @model_validator(mode="after")
    def _consistent(self) -> BrokerSettings:
        mistake = _uri_mistake(self.uri) or self._mistake()
        if mistake:
            raise PydanticCustomError("broker", "{sentence}", {"sentence": mistake})
        return self

    def _mistake(self) -> str | None:
        if not self.tls and not self.loopback and not self.allow_plaintext:
            return (
                f"broker.uri {self.uri} would send everything unencrypted to another machine; "
                "use mqtts://, or allow_plaintext = true if that network is trusted"
            )
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            return "broker.ca_file, cert_file and key_file need mqtts:// in broker.uri"
        if bool(self.cert_file) != bool(self.key_file):
            return "broker.cert_file and broker.key_file must be given together"
        if self.password_file and not self.username:
            return "broker.password_file needs broker.username"
        return None

    @property
    def tls(self) -> bool:
        return self.uri.startswith("mqtts:")

    @property
    def host(self) -> str:
        match = _URI.fullmatch(self.uri)
        assert match is not None, "validated"
        return match["host"].strip("[]")

    @property
    def port(self) -> int:
        match = _URI.fullmatch(self.uri)
        assert match is not None, "validated"
        return int(match["port"] or (8883 if self.tls else 1883))

    @property
    def loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost" or self.host.endswith(".localhost")


def _uri_mistake(uri: str) -> str | None:
    if "@" in uri:
        return "broker.uri must hold no login; use broker.username and broker.password_file"
    match = _URI.fullmatch(uri)
    if match is None:
        return f"broker.uri {uri!r} must look like mqtts://HOST[:PORT] or mqtt://HOST[:PORT]"
    if not 1 <= int(match["port"] or 1) <= 65_535:
        return f"broker.uri {uri} names port {match['port']}; ports go from 1 to 65535"
    return None


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when we vanish."""

    topic: str
    payload: bytes


def make_client(settings: BrokerSettings, client_id: str, will: Will | None = None) -> Client:
    """A configured paho client, not connected. Raises SettingsError for files that cannot be used."""
    five = settings.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTv5 if five else MQTTv311,
        clean_session=None if five else True,
        reconnect_on_failure=False,  # `Connection` does that; also keeps paho from trying MQTT 3.1 by itself
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages = 0  # the window is ours: above its own paho queues in memory
    if settings.username is not None:
        client.username_pw_set(settings.username, _password(settings))
    if settings.tls:
        client.tls_set_context(_tls_context(settings))
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    client.on_socket_open = _no_delay
    return client


def _no_delay(_: Client, __: Any, sock: Any) -> None:
    """Without this a message written after another waits for the first one's TCP acknowledgement."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def connect_properties(settings: BrokerSettings) -> Properties | None:
    """What we ask of an MQTT 5 broker; 3.1.1 knows no such thing."""
    if settings.protocol != "5":
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = MAX_RECEIVED
    return properties


def _located(path: Path) -> Path:
    """A bare name may be a systemd credential."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    credential = Path(folder, path.name) if folder else path
    return credential if path.name == str(path) and credential.is_file() else path


def _password(settings: BrokerSettings) -> str | None:
    """Read anew for every attempt, so that a changed file needs no restart. Raises SettingsError."""
    if settings.password_file is None:
        return None
    try:
        password = _located(settings.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise SettingsError(f"broker.password_file {settings.password_file} cannot be read: {why}") from None
    if not password:
        raise SettingsError(f"broker.password_file {settings.password_file} is empty")
    return password


def _tls_context(settings: BrokerSettings) -> ssl.SSLContext:
    """Raises SettingsError for files that cannot be used."""
    files = [path for path in (settings.ca_file, settings.cert_file, settings.key_file) if path]
    located = {path: str(_located(path)) for path in files}
    for path in files:
        if not os.access(located[path], os.R_OK):
            raise SettingsError(f"broker certificate or key file {path} cannot be read")
    try:
        context = ssl.create_default_context(cafile=located[settings.ca_file] if settings.ca_file else None)
        if settings.cert_file and settings.key_file:
            # An encrypted key would make OpenSSL ask on the terminal; the empty password refuses instead.
            context.load_cert_chain(
                located[settings.cert_file], located[settings.key_file], password=lambda: b""
            )
    except (ssl.SSLError, OSError, ValueError) as error:
        names = ", ".join(str(path) for path in files)
        raise SettingsError(f"broker certificate files {names} cannot be used: {error}") from None
    return context
