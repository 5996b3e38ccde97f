"""The wire as documents: JSON Schema of every message, and an AsyncAPI 3 document of the topics.

Both are generated from `edge.events`, so a model, a topic or a size is spelled once; docs/wire holds the
result, and a test says when it has fallen behind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from edge.events import MAX_JSON_BYTES, MAX_PICTURE_BYTES, NAME, ROOT, Event, Health, Status, subscriptions

Document = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic: `model` says its body, or where there is none `content_type` says what picture it is."""

    name: str
    suffix: str
    summary: str
    model: type[BaseModel] | None = None
    content_type: str = "application/json"
    retain: bool = False

    @property
    def address(self) -> str:
        return f"{ROOT}/{{site}}/{{drone}}/{self.suffix}"

    @property
    def qos(self) -> int:
        """As `subscriptions` has it."""
        topic_filter = "/".join("+" if part.startswith("{") else part for part in self.address.split("/"))
        return dict(subscriptions())[topic_filter]


CHANNELS = (
    Channel("status", "status", "Birth, and death or last will, of a drone's session.", Status, retain=True),
    Channel("health", "health", "What was watched and what was blind, every few seconds.", Health),
    Channel("event", "event", "One phase of one incident: begin, update or end.", Event),
    Channel("snapshot", "event/{id}/snapshot", "What the camera saw of an incident.", None, "image/jpeg"),
    Channel("heatmap", "event/{id}/heatmap", "Where an incident is strange.", None, "image/png"),
)


def documents() -> dict[str, Document]:
    """File name -> document."""
    schemas = {f"{c.name}.schema.json": message_schema(c.model) for c in CHANNELS if c.model}
    return {**schemas, "asyncapi.json": asyncapi()}


def text(document: Document) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def message_schema(model: type[BaseModel]) -> Document:
    """JSON Schema 2020-12 of one message, complete in itself."""
    return {"$schema": _DIALECT, **model.model_json_schema()}


def asyncapi() -> Document:
    """AsyncAPI 3.0 from the drone's side: it sends on every channel and receives on none."""
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": "application/json",
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {f"send-{channel.name}": _operation(channel) for channel in CHANNELS},
        "components": {
            "messages": {channel.name: _message(channel) for channel in CHANNELS},
            "schemas": _schemas(),
        },
    }


def _info() -> Document:
    return {
        "title": "Skerry",
        "version": ROOT.rpartition("/")[2],
        "description": (
            f"What a drone tells the ground over MQTT. JSON is at most {MAX_JSON_BYTES} bytes, a picture at "
            f"most {MAX_PICTURE_BYTES}. Topic and body agree on site and drone; a reader ignores fields it "
            "does not know."
        ),
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
    }


def _channel(channel: Channel) -> Document:
    parameters = {"site": _name("The place patrolled"), "drone": _name("The drone, unique in its site")}
    if "{id}" in channel.suffix:
        parameters["id"] = {"description": "The incident's UUID, as in its event messages."}
    return {
        "address": channel.address,
        "summary": channel.summary,
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
        "parameters": parameters,
    }


def _name(what: str) -> Document:
    return {"description": f"{what}: one topic level that matches {NAME}"}


def _operation(channel: Channel) -> Document:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.summary,
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{channel.name}"}],
        "bindings": {"mqtt": {"qos": channel.qos, "retain": channel.retain, "bindingVersion": "0.2.0"}},
    }


def _message(channel: Channel) -> Document:
    if channel.model is not None:
        payload: Document = {"$ref": f"#/components/schemas/{channel.model.__name__}"}
    else:
        payload = {"type": "string", "format": "binary", "maxLength": MAX_PICTURE_BYTES}
    return {
        "name": channel.name,
        "summary": channel.summary,
        "contentType": channel.content_type,
        "payload": payload,
    }


def _schemas() -> Document:
    """Every model and what it is made of, side by side, with references that hold inside this document."""
    schemas: Document = {}
    for channel in CHANNELS:
        if channel.model is not None:
            schema = channel.model.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs", {}))
            schemas[channel.model.__name__] = schema
    return dict(sorted(schemas.items()))
