"""The admin API's operations, and their description in OpenAPI 3.1 as served at `/api/v1/openapi.json`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from signaling.events.codes import Role

from . import models

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "/api/v1"
MAX_PAGE_ITEMS: Final = 200
DEFAULT_PAGE_ITEMS: Final = 50
MAX_ID: Final = 2**31 - 1
CLIENT_ID_PATTERN: Final = "^[A-Za-z0-9._~-]{1,64}$"
CLIENT_PATTERN: Final = "^(WEB|DEVICE)/[A-Za-z0-9._~-]{1,64}$"

_ID: Mapping[str, Any] = {"type": "integer", "minimum": 1, "maximum": MAX_ID}
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "room_id": {"in": "path", "description": "A room's id.", "schema": _ID},
    "feed": {"in": "path", "description": "A feed's id.", "schema": _ID},
    "role": {"in": "path", "description": "A client's role.", "schema": {"enum": [role.value for role in Role]}},
    "client_id": {
        "in": "path",
        "description": "A client's id.",
        "schema": {"type": "string", "pattern": CLIENT_ID_PATTERN},
    },
    "limit": {
        "in": "query",
        "description": "How many to answer at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_ITEMS, "default": DEFAULT_PAGE_ITEMS},
    },
    "after": {"in": "query", "description": "The `next` of the page before.", "schema": _ID},
    "after_client": {
        "in": "query",
        "description": "The `next` of the page before, as role and id: `WEB/anna`.",
        "schema": {"type": "string", "pattern": CLIENT_PATTERN},
    },
}
_PAGE = ("after", "limit")


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the API does. `answer` None is one without content."""

    name: str
    method: str
    path: str
    summary: str
    answer: type[models.Answer] | None
    parameters: tuple[str, ...] = ()


_ROOM, _FEED, _CLIENT = "/rooms/{room_id}", "/feeds/{feed}", "/participants/{role}/{client_id}"
OPERATIONS: Final = (
    Operation("get_server", "GET", "/server", "The server as a whole", models.Server),
    Operation("list_rooms", "GET", "/rooms", "A page of rooms", models.Rooms, _PAGE),
    Operation("get_room", "GET", _ROOM, "One room with its members", models.RoomWithMembers, ("room_id",)),
    Operation("close_room", "DELETE", _ROOM, "Close a room: everybody in it leaves", None, ("room_id",)),
    Operation(
        "list_participants",
        "GET",
        "/participants",
        "A page of clients",
        models.Participants,
        ("after_client", "limit"),
    ),
    Operation("get_participant", "GET", _CLIENT, "One client", models.Participant, ("role", "client_id")),
    Operation(
        "disconnect_participant",
        "DELETE",
        _CLIENT,
        "Disconnect a client: its session is over; it may come back as a new one",
        None,
        ("role", "client_id"),
    ),
    Operation("list_feeds", "GET", "/feeds", "A page of feeds with their statistics", models.Feeds, _PAGE),
    Operation("get_feed", "GET", _FEED, "One feed with its statistics", models.Feed, ("feed",)),
    Operation("stop_publication", "DELETE", _FEED, "Stop a publication; its device stays online", None, ("feed",)),
    Operation(
        "list_subscriptions",
        "GET",
        f"{_FEED}/subscriptions",
        "A page of a feed's viewers with their statistics",
        models.Subscriptions,
        ("feed", *_PAGE),
    ),
)


@cache
def openapi() -> dict[str, Any]:
    """Return the description."""
    answers: list[type[models.Answer]] = [each.answer for each in OPERATIONS if each.answer is not None]
    answers.append(models.Failure)
    _, schema = models_json_schema(
        [(model, "serialization") for model in answers], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aiosfu admin API",
            "version": "1",
            "description": "Look at rooms, participants and feeds, and end them. With auth on it takes a token with "
            "the admin grant; with auth off it answers to the server's own machine and to --admin-network.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schema["$defs"],
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _described(operation: Operation) -> dict[str, Any]:
    parameters = [_parameter(name) for name in operation.parameters]
    responses: dict[str, Any] = {"401": _failure("No valid token"), "403": _failure("Not granted")}
    if parameters:
        responses["400"] = _failure("A parameter is not what it should be")
    if any(parameter["in"] == "path" for parameter in parameters):
        responses["404"] = _failure("There is no such")
    if operation.answer is None:
        responses["204"] = {"description": "Done"}
    else:
        responses["200"] = _content("What was asked for", operation.answer.__name__)
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": dict(sorted(responses.items())),
    }


def _parameter(name: str) -> dict[str, Any]:
    described = dict(_PARAMETERS[name])
    return {"name": name.removesuffix("_client"), "required": described["in"] == "path", **described}


def _failure(description: str) -> dict[str, Any]:
    return _content(description, models.Failure.__name__)


def _content(description: str, model: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
