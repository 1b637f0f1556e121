"""The operator's side of HTTP: `/api/v1`, `/metrics`, `/healthz`, `/readyz` and the `/status` page's data.

Requests are few and from whoever runs the server; what they may cost media is bounded in `status` and `metrics`.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web

from signaling.effects import Client
from signaling.logs import EventLog
from signaling.protocol import ErrorCode, Role

from . import models
from . import openapi as description
from .access import AccessError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp.typedefs import Handler

    from signaling.service import Service

    from .access import Access
    from .metrics import Metrics
    from .status import Status

    Handle = Callable[["Admin", "_Asked"], Awaitable[models.Answer | None]]

log = EventLog("signaling.admin")

MAX_ECHO_CHARS: Final = 40
"""As much of a wrong parameter as an error repeats."""

_INTEGER = re.compile(r"[0-9]{1,10}")


class _BadParameterError(Exception):
    """A parameter that cannot be read; the text names it and says what was expected."""


class _NotFoundError(Exception):
    """What the path names does not exist."""


class _Asked:
    """A request's parameters, as the description has them."""

    def __init__(self, request: web.Request, operator: str) -> None:
        self.operator = operator
        self._path = request.match_info
        self._query = request.query

    def id(self, name: str) -> int:
        """Return an id of the path."""
        return _integer(name, self._path[name], description.MAX_ID)

    def after(self) -> int | None:
        """Return the id after which the page begins."""
        text = self._query.get("after")
        return None if text is None else _integer("after", text, description.MAX_ID)

    def limit(self) -> int:
        """Return how many may be on the page."""
        text = self._query.get("limit", str(description.DEFAULT_PAGE_ITEMS))
        return _integer("limit", text, description.MAX_PAGE_ITEMS)

    def client(self) -> Client:
        """Return the client of the path."""
        return _client("role, client_id", f"{self._path['role']}/{self._path['client_id']}")

    def after_client(self) -> Client | None:
        """Return the client after which the page begins."""
        text = self._query.get("after")
        return None if text is None else _client("after", text)


def _integer(name: str, text: str, most: int) -> int:
    if _INTEGER.fullmatch(text) and 1 <= int(text) <= most:
        return int(text)
    raise _BadParameterError(f"{name}: expected an integer from 1 to {most}, got {text[:MAX_ECHO_CHARS]!r}")


def _client(name: str, text: str) -> Client:
    if re.fullmatch(description.CLIENT_PATTERN[1:-1], text):
        role, _, client_id = text.partition("/")
        return Client(Role(role), client_id)
    raise _BadParameterError(
        f"{name}: expected WEB or DEVICE and a client id, as in WEB/anna, got {text[:MAX_ECHO_CHARS]!r}"
    )


class Admin:
    """Answer an operator's requests about one service."""

    def __init__(self, service: Service, status: Status, metrics: Metrics, access: Access) -> None:
        self._service = service
        self._status = status
        self._metrics = metrics
        self._access = access

    def add_routes(self, app: web.Application) -> None:
        """Serve everything."""
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._scrape)
        app.router.add_get(f"{description.PREFIX}/openapi.json", self._openapi)
        for operation in description.OPERATIONS:
            handler = partial(self._operate, _HANDLERS[operation.name])
            app.router.add_route(operation.method, description.PREFIX + operation.path, handler)
        app.middlewares.append(_failures_as_json)

    async def _healthz(self, _request: web.Request) -> web.Response:
        """Answer that the event loop turns: whoever gets no answer should start the server anew."""
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        """Answer whether to send new clients here."""
        if self._status.is_ready:
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "draining"}, status=503)

    async def _scrape(self, request: web.Request) -> web.Response:
        try:
            self._access.check_metrics(request)
        except AccessError as error:
            return _refusal(error)
        body, content_type = self._metrics.scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _openapi(self, _request: web.Request) -> web.Response:
        return web.json_response(description.openapi())

    async def _operate(self, handle: Handle, request: web.Request) -> web.Response:
        """Do one operation, or say why not."""
        try:
            operator = self._access.check_admin(request)
            answer = await handle(self, _Asked(request, operator))
        except AccessError as error:
            return _refusal(error)
        except _BadParameterError as error:
            return _failure(400, "bad_request", str(error))
        except _NotFoundError as error:
            return _failure(404, "not_found", str(error))
        if answer is None:
            return web.Response(status=204)
        return web.Response(body=answer.model_dump_json().encode(), content_type="application/json")

    # --- operations ----------------------------------------------------------------------------------------------

    async def _get_server(self, _asked: _Asked) -> models.Answer:
        return self._status.server()

    async def _list_rooms(self, asked: _Asked) -> models.Answer:
        return await self._status.rooms(asked.after(), asked.limit())

    async def _get_room(self, asked: _Asked) -> models.Answer:
        return _found(self._status.room(asked.id("room_id")), "room_id: there is no such room")

    async def _close_room(self, asked: _Asked) -> None:
        room = asked.id("room_id")
        if not self._service.close_room(room):
            raise _NotFoundError("room_id: there is no such room")
        log.info("operator_closed_room", operator=asked.operator, room=room)

    async def _list_participants(self, asked: _Asked) -> models.Answer:
        return await self._status.participants(asked.after_client(), asked.limit())

    async def _get_participant(self, asked: _Asked) -> models.Answer:
        return _found(self._status.participant(asked.client()), "role, client_id: there is no such client")

    async def _disconnect_participant(self, asked: _Asked) -> None:
        client = asked.client()
        if not self._service.disconnect(client):
            raise _NotFoundError("role, client_id: there is no such client")
        log.info("operator_disconnected_client", operator=asked.operator, role=client.role, client=client.id)

    async def _list_feeds(self, asked: _Asked) -> models.Answer:
        return await self._status.feeds(asked.after(), asked.limit())

    async def _get_feed(self, asked: _Asked) -> models.Answer:
        return _found(self._status.feed(asked.id("feed")), "feed: there is no such feed")

    async def _stop_publication(self, asked: _Asked) -> None:
        feed = asked.id("feed")
        if not self._service.stop_publication(feed):
            raise _NotFoundError("feed: there is no such feed")
        log.info("operator_stopped_publication", operator=asked.operator, feed=feed)

    async def _list_subscriptions(self, asked: _Asked) -> models.Answer:
        page = await self._status.subscriptions(asked.id("feed"), asked.after(), asked.limit())
        return _found(page, "feed: there is no such feed")


_HANDLERS: Mapping[str, Handle] = {
    operation.name: getattr(Admin, f"_{operation.name}") for operation in description.OPERATIONS
}


def _found(answer: models.Answer | None, otherwise: str) -> models.Answer:
    if answer is None:
        raise _NotFoundError(otherwise)
    return answer


def _failure(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"error": {"code": code, "message": message}}
    return web.json_response(body, status=status, headers=headers)


def _refusal(error: AccessError) -> web.Response:
    if error.code is ErrorCode.UNAUTHORIZED:
        return _failure(401, error.code, error.message, {"WWW-Authenticate": "Bearer"})  # RFC 9110 section 11.6.1
    return _failure(403, error.code, error.message)


@web.middleware
async def _failures_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say in the API's own form what aiohttp refuses by itself: a path, a method."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        if not request.path.startswith(description.PREFIX):
            raise
        allowed = ", ".join(sorted(error.allowed_methods))
        return _failure(405, "method_not_allowed", f"expected {allowed}", {"Allow": allowed})
    except web.HTTPNotFound:
        if not request.path.startswith(description.PREFIX):
            raise
        return _failure(404, "not_found", f"there is no such path; see {description.PREFIX}/openapi.json")
