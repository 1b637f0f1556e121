"""The aiohttp application: WebSocket, pages and health; and `Server`, which runs it together with the engine."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiohttp import web

import sfu

from . import protocol
from .auth import OpenAuthenticator, UnauthorizedError
from .config import flag_name
from .logs import EventLog
from .protocol import ErrorCode, Role
from .service import CLOSE_CODES, ConnectionRefused, Service
from .session import Session, SessionSettings, SignalingSocket

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from .auth import Authenticator, Grant
    from .config import ServerConfig

log = EventLog("signaling.app")

SERVER_NAME = "aiosfu"
SHUTDOWN_TIMEOUT_SECONDS = 0.3
"""For plain HTTP requests that are still under way; sessions have ended by then."""

CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,64}")

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob: mediastream:; "
        "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

SERVICE = web.AppKey("service", Service)
SESSION_SETTINGS = web.AppKey("session_settings", SessionSettings)
AUTHENTICATOR: web.AppKey[Authenticator] = web.AppKey("authenticator")
STATIC = web.AppKey("static", Path)


class ServerStartError(Exception):
    """The server cannot start; the text says which setting to change."""


def static_directory() -> Path:
    """Return where the pages are: inside the package when installed from a wheel, beside it in a checkout."""
    packaged = Path(__file__).parent / "static"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "static"


def create_app(service: Service, config: ServerConfig, authenticator: Authenticator | None = None) -> web.Application:
    """Return the application; `service` is started and stopped by its owner."""
    app = web.Application()
    app[SERVICE] = service
    app[SESSION_SETTINGS] = config.session_settings()
    app[AUTHENTICATOR] = authenticator or OpenAuthenticator()
    app[STATIC] = static_directory()
    app.router.add_get("/healthz", _health)
    app.router.add_get("/ws/connect/{rest:.*}", _connect)
    app.router.add_get("/", _page("index.html"))
    app.router.add_get("/device", _page("device.html"))
    if app[STATIC].is_dir():
        app.router.add_static("/static", app[STATIC])
    app.on_response_prepare.append(_add_headers)
    return app


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
    if not request.path.startswith("/ws/"):
        response.headers["Cache-Control"] = "no-cache"


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _page(name: str) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        path = request.app[STATIC] / name
        if not path.is_file():
            raise web.HTTPNotFound(text=f"{name} is not installed with this server")
        return web.FileResponse(path)

    return serve


async def _connect(request: web.Request) -> web.StreamResponse:
    """Serve `/ws/connect/{role}/{client_id}[/{token}]`.

    A browser cannot read the HTTP status of a failed upgrade, so a refusal comes after it: an `error` event and a
    close code.
    """
    response = SignalingSocket()
    if not response.can_prepare(request):
        raise web.HTTPUpgradeRequired(text="this address speaks WebSocket only")
    await response.prepare(request)
    try:
        # The raw path: a token may hold an encoded slash.
        role, client_id, token = _split_path(request.rel_url.raw_path)
        grant = _authenticate(request.app[AUTHENTICATOR], role, client_id, token)
        settings = request.app[SESSION_SETTINGS]
        session = Session(response, request.transport, grant, request.app[SERVICE], settings)
        await request.app[SERVICE].admit(session)
    except ConnectionRefused as refusal:
        log.info("connection_refused", code=refusal.code)
        await _refuse(response, refusal)
    else:
        await session.run()
    return response


def _split_path(raw_path: str) -> tuple[Role, str, str | None]:
    parts = [unquote(part) for part in raw_path.removeprefix("/ws/connect/").split("/", 2)]
    role, client_id, token = (*parts, None, None)[:3]
    if role is None or role not in Role.__members__:
        raise ConnectionRefused(
            ErrorCode.BAD_ROLE, "role: expected WEB or DEVICE, as in /ws/connect/WEB/my-id/my-token"
        )
    if client_id is None or not CLIENT_ID.fullmatch(client_id):
        raise ConnectionRefused(
            ErrorCode.BAD_CLIENT_ID, "client_id: expected 1 to 64 letters, digits, dots, underscores, tildes or dashes"
        )
    return Role(role), client_id, token or None


def _authenticate(authenticator: Authenticator, role: Role, client_id: str, token: str | None) -> Grant:
    try:
        return authenticator.authenticate(role, client_id, token, time.time())
    except UnauthorizedError as error:
        raise ConnectionRefused(ErrorCode.UNAUTHORIZED, f"token: {error}") from None


async def _refuse(response: SignalingSocket, refusal: ConnectionRefused) -> None:
    with contextlib.suppress(ConnectionError):
        await response.send_str(protocol.encode(protocol.Error(code=refusal.code, message=refusal.message)))
    await response.close(code=CLOSE_CODES[refusal.code], message=refusal.code.encode())


class Server:
    """The whole server: engine, service and HTTP."""

    def __init__(self, config: ServerConfig, authenticator: Authenticator | None = None) -> None:
        self.config = config
        self.service = Service(
            config.engine_settings(),
            config.room_limits(),
            max_sessions=config.max_sessions,
            probe_seconds=config.id_in_use_timeout,
            ice_servers=lambda _client: config.ice_server,
            server_name=SERVER_NAME,
        )
        self.app = create_app(self.service, config, authenticator)
        # No access log: its lines would hold tokens, which are part of the path.
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS)

    async def start(self) -> None:
        """Open the ports; raise `ServerStartError` when one cannot be had, leaving nothing open."""
        try:
            await self.service.start()
        except sfu.EngineStartError as error:
            await self.service.stop()
            hint = f"choose another with {flag_name('media_port')} or {flag_name('media_host')}"
            if "TCP" in str(error):
                hint += ", or do without by --no-media-tcp"
            raise ServerStartError(f"{error}; {hint}") from None
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.config.host, self.config.port, reuse_address=True).start()
        except OSError as error:
            await self.stop()
            where = f"TCP {self.config.host} port {self.config.port}"
            hint = f"choose another with {flag_name('port')} or {flag_name('host')}"
            raise ServerStartError(f"cannot serve HTTP on {where}: {error.strerror or error}; {hint}") from None

    async def stop(self) -> None:
        """Take no more connections, tell the clients, close everything; leave no task behind. Idempotent."""
        for site in list(self._runner.sites):
            await site.stop()
        await self.service.stop()
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The TCP port in use."""
        return int(self._runner.addresses[0][1])

    @property
    def url(self) -> str:
        """What a browser on this machine opens."""
        host = self.config.host
        if host in {"0.0.0.0", ""}:  # noqa: S104  compared, not bound
            host = "127.0.0.1"
        elif host == "::":
            host = "::1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
