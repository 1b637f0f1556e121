"""The wire protocol as a JSON Schema, made from the models that the service itself reads and writes by. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from .codes import MAX_REQUEST_ID_CHARS, PROTOCOL_VERSION, ErrorCode, Role
from .inbound import EVENTS, Inbound
from .outbound import DeviceStatus, Error, Outbound, Resumed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaMode

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REQUEST_ID: dict[str, Any] = {
    "description": "Of a request; every direct reply and error repeats it.",
    "anyOf": [{"type": "string", "maxLength": MAX_REQUEST_ID_CHARS}, {"type": "number"}],
}
_LEAVES_OUT_NONE: tuple[type[BaseModel], ...] = (Resumed, DeviceStatus)
"""On the wire their fields without a value are absent, which pydantic's schema cannot know."""


def inbound_models() -> list[type[Inbound]]:
    """Return the model of every event that a client may send, each once."""
    return list(dict.fromkeys(model for models in EVENTS.values() for model in models.values()))


def outbound_models() -> list[type[Outbound]]:
    """Return the model of every event that a client is told, in the order of their definition."""
    return list(Outbound.__subclasses__())


@cache
def protocol_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of every message, for `/protocol.json`.

    The schema as a whole holds for each message of any direction; `$defs` has `from_WEB`, `from_DEVICE` and
    `from_server` for those of one, and a definition of each message, such as `client.create_room` and
    `server.room_created`.
    """
    told_definitions = _definitions(outbound_models(), "serialization")
    for definition in told_definitions.values():
        if "properties" in definition:
            definition["required"] = list(definition["properties"])  # a default is sent as well
    definitions = {**_definitions(inbound_models(), "validation"), **told_definitions}
    for left_out in _LEAVES_OUT_NONE:
        _leave_none_out(definitions[left_out.__name__])
    definitions[Error.__name__] = _error()
    for sent in inbound_models():
        definitions[f"client.{sent.event}"] = _message(
            sent, needs_data=bool(definitions[sent.__name__].get("required"))
        )
    for told in outbound_models():
        definitions[f"server.{told.event}"] = _message(told, needs_data=True)
    for role in Role:
        definitions[f"from_{role}"] = _any_of(f"client.{event}" for event in EVENTS[role])
    definitions["from_server"] = _any_of(f"server.{model.event}" for model in outbound_models())
    return {
        "$schema": DIALECT,
        "title": "aiosfu signalling protocol",
        "description": "Every message is one JSON text frame; signaling/PROTOCOL.md explains them.",
        "version": PROTOCOL_VERSION,
        **_any_of((*(f"from_{role}" for role in Role), "from_server")),
        "$defs": definitions,
    }


def _definitions(models: Sequence[type[BaseModel]], mode: JsonSchemaMode) -> dict[str, Any]:
    _, schema = models_json_schema([(model, mode) for model in models], ref_template="#/$defs/{model}")
    found: dict[str, Any] = schema["$defs"]
    return found


def _leave_none_out(definition: dict[str, Any]) -> None:
    for name, schema in definition["properties"].items():
        choices = schema.get("anyOf", ())
        if {"type": "null"} in choices:
            schema["anyOf"] = [choice for choice in choices if choice != {"type": "null"}]
            schema.pop("default", None)
            definition["required"] = [required for required in definition["required"] if required != name]


def _error() -> dict[str, Any]:
    """Return the `data` of an error: on the wire it names the failed event as `event`, and repeats the id."""
    return {
        "type": "object",
        "description": "What went wrong.",
        "properties": {
            "code": {"enum": [str(code) for code in ErrorCode]},
            "message": {"type": "string", "description": "For people: which field, what was expected, what came."},
            "event": {"type": "string", "description": "The event that failed, where known."},
            "id": _REQUEST_ID,
        },
        "required": ["code", "message"],
    }


def _message(model: type[Inbound | Outbound], *, needs_data: bool) -> dict[str, Any]:
    data = {"$ref": f"#/$defs/{model.__name__}"}
    return {
        "type": "object",
        "properties": {
            "event": {"const": model.event},
            "data": data if needs_data else {"anyOf": [data, {"type": "null"}]},
            "id": _REQUEST_ID,
        },
        "required": ["event", "data"] if needs_data else ["event"],
    }


def _any_of(names: Iterable[str]) -> dict[str, Any]:
    return {"anyOf": [{"$ref": f"#/$defs/{name}"} for name in names]}
