"""The aiohttp application: WebSocket, pages and health; and `Server`, which runs it together with the engine."""

from __future__ import annotations

import importlib.metadata
import time
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

import sfu

from . import turn
from .admin.access import Access
from .admin.metrics import Metrics
from .admin.routes import Admin
from .admin.status import Status
from .auth import OpenAuthenticator
from .config import reloading
from .config.model import flag_name, is_loopback
from .connect import PATH, Door
from .credentials.loading import Credentials, CredentialsError
from .events.schema import protocol_schema
from .logs import EventLog, internal_error
from .service import Service
from .sockets.listener import ConnectionGuard, GuardedSite
from .sockets.proxies import PROXIES, Networks, TrustedProxies
from .tokens import TokenAuthenticator, issue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp.typedefs import Handler

    from .auth import Authenticator
    from .config.model import ServerConfig
    from .credentials.tls import CertificateInfo
    from .effects import Client
    from .protocol import Role

log = EventLog("signaling.app")

SERVER_NAME = "aiosfu"
SHUTDOWN_TIMEOUT_SECONDS = 0.3
"""For plain HTTP requests that are still under way; sessions have ended by then."""

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
DOOR = web.AppKey("door", Door)
GUARD = web.AppKey("guard", ConnectionGuard)
ACCESS = web.AppKey("access", Access)
STATIC = web.AppKey("static", Path)


OWN_TTL_SECONDS = 366 * 24 * 3600.0
"""A device that the server starts ends with it, and may have to connect again at any time until then."""


class ServerStartError(Exception):
    """The server cannot start; the text says which setting to change."""


def static_directory() -> Path:
    """Return where the pages are: inside the package when installed from a wheel, beside it in a checkout."""
    packaged = Path(__file__).parent / "static"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "static"


def create_app(service: Service, config: ServerConfig, authenticator: Authenticator | None = None) -> web.Application:
    """Return the application; `service` is started and stopped by its owner."""
    app = web.Application(middlewares=[_renew_time, _answer_faults])
    app[SERVICE] = service
    app[PROXIES] = TrustedProxies(config.trusted_proxy)
    app[GUARD] = ConnectionGuard(config.max_pending_connections, config.request_timeout)
    app[DOOR] = Door(
        service,
        authenticator or OpenAuthenticator(),
        config.door_settings(),
        config.session_settings(),
        app[PROXIES],
    )
    app[STATIC] = static_directory()
    _add_operation(app, config, authenticator)
    app.router.add_get("/protocol.json", _protocol)
    app.router.add_get(PATH + "{rest:(?s:.*)}", app[DOOR].connect)
    app.router.add_get("/", _page("index.html"))
    app.router.add_get("/device", _page("device.html"))
    app.router.add_get("/inspect", _page("inspect.html"))
    app.router.add_get("/status", _page("status.html"))
    if app[STATIC].is_dir():
        app.router.add_static("/static", app[STATIC])
    app.on_response_prepare.append(_add_headers)
    return app


def _add_operation(app: web.Application, config: ServerConfig, authenticator: Authenticator | None) -> None:
    """Serve what is for whoever runs the server."""
    service, version = app[SERVICE], own_version()
    metrics = Metrics(service, app[GUARD], version)
    service.observers.append(metrics)
    app[ACCESS] = access = Access(authenticator, app[PROXIES])
    access.reconfigure(config.admin_network, config.metrics_network)
    Admin(service, Status(service, metrics, version), metrics, access).add_routes(app)

    async def measure_lag(_app: web.Application) -> AsyncIterator[None]:
        metrics.lag.start()
        yield
        metrics.lag.stop()

    app.cleanup_ctx.append(measure_lag)


def own_version() -> str:
    """Return this program's version; `unknown` in a copy that was never installed."""
    try:
        return importlib.metadata.version(SERVER_NAME)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@web.middleware
async def _renew_time(request: web.Request, handler: Handler) -> web.StreamResponse:
    request.app[GUARD].request_began(request.protocol)
    return await handler(request)


@web.middleware
async def _answer_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a bug of ours in our words, and log it as every other is: aiohttp would log the path with its token."""
    try:
        return await handler(request)
    except (web.HTTPException, OSError):  # answers, and connections that are gone
        raise
    except Exception as error:  # noqa: BLE001  any bug is meant
        resource = request.match_info.route.resource
        reference = log.bug("request_failed", error, path=None if resource is None else resource.canonical)
        return web.Response(status=500, text=internal_error(reference))


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
    if not request.path.startswith("/ws/"):
        response.headers["Cache-Control"] = "no-cache"
    if request.path.startswith("/static/js/") or request.path == "/protocol.json":
        response.headers["Access-Control-Allow-Origin"] = "*"  # pages elsewhere load these; they hold no secrets


async def _protocol(_request: web.Request) -> web.Response:
    return web.json_response(protocol_schema(), content_type="application/schema+json")


def _page(name: str) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        path = request.app[STATIC] / name
        if not path.is_file():
            raise web.HTTPNotFound(text=f"{name} is not installed with this server")
        return web.FileResponse(path)

    return serve


class Server:
    """The whole server: engine, service and HTTP.

    Raises `ServerStartError` for a file of keys or a certificate that cannot be used.
    """

    def __init__(self, config: ServerConfig, authenticator: Authenticator | None = None) -> None:
        self.config = config
        try:
            self._credentials = Credentials(config)
        except CredentialsError as error:
            raise ServerStartError(str(error)) from None
        self._tokens: TokenAuthenticator | None = None
        if self._credentials.has_keys:
            self._tokens = TokenAuthenticator(
                self._credentials.current_keys, leeway_seconds=config.auth_leeway, audience=config.auth_audience
            )
        authenticator = authenticator or self._tokens
        if authenticator is None and not is_loopback(config.host):
            log.warning("auth_off", host=config.host, remedy=flag_name("auth_secret_file"))
        self.service = Service(
            config.engine_settings(),
            config.room_limits(),
            config.registry_settings(newest_wins=authenticator is not None),
            ice_servers=self._ice_servers,
            server_name=SERVER_NAME,
        )
        self.app = create_app(self.service, config, authenticator)
        self._runner = web.AppRunner(self.app, shutdown_timeout=SHUTDOWN_TIMEOUT_SECONDS)

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
            tls = self._credentials.tls
            await GuardedSite(
                self._runner,
                self.app[GUARD],
                self.config.host,
                self.config.port,
                ssl_context=None if tls is None else tls.context,
            ).start()
        except OSError as error:
            await self.stop()
            where = f"TCP {self.config.host} port {self.config.port}"
            hint = f"choose another with {flag_name('port')} or {flag_name('host')}"
            raise ServerStartError(f"cannot serve HTTP on {where}: {error.strerror or error}; {hint}") from None

    async def drain(self) -> None:
        """Let what is watched go on, for a while; see `Service.drain`."""
        await self.service.drain(self.config.drain_timeout)

    async def stop(self) -> None:
        """Take no more connections, tell the clients, close everything; leave no task behind. Idempotent."""
        for site in list(self._runner.sites):
            await site.stop()
        await self.service.stop()
        await self._runner.cleanup()
        self.app[GUARD].close()

    def reload(self, config: ServerConfig | None = None) -> None:
        """Read keys, secrets and the certificate anew, and take over what of `config` needs no restart.

        What cannot be used is logged and changes nothing.
        """
        if config is not None:
            self._take_over(config)
        self._credentials.reload()

    def _take_over(self, config: ServerConfig) -> None:
        plan = reloading.plan(self.config, config)
        for name in plan.refused:
            log.warning("setting_needs_restart", setting=name)
        if not plan.changed:
            log.info("settings_unchanged")  # who asked for it sees that it was done
            return
        try:
            self._credentials.move(plan.settings)
        except CredentialsError as error:
            log.warning("reload_refused", problem=error)
            return
        self.config = settings = plan.settings
        self.app[DOOR].reconfigure(settings.door_settings(), settings.session_settings())
        self.app[GUARD].reconfigure(settings.max_pending_connections, settings.request_timeout)
        self.app[PROXIES].networks = Networks(settings.trusted_proxy)
        self.app[ACCESS].reconfigure(settings.admin_network, settings.metrics_network)
        self.service.rooms.reconfigure(settings.room_limits())
        if self._tokens is not None:
            self._tokens.reconfigure(leeway_seconds=settings.auth_leeway, audience=settings.auth_audience)
        log.info("settings_reloaded", settings=",".join(plan.changed))

    def issue_token(self, role: Role, client_id: str) -> str | None:
        """Return a token for a client that this server starts itself; None with auth off.

        Raises `ServerStartError` where there are public keys only: they sign nothing.
        """
        if not self._credentials.has_keys:
            return None
        key = next((key for key in self._credentials.current_keys() if key.algorithm == "HS256"), None)
        if key is None:
            raise ServerStartError(
                f"a device of the server's own takes a token, and so {flag_name('auth_secret_file')}"
            )
        now, audience = time.time(), self.config.auth_audience
        return issue(key, client_id=client_id, role=role, now=now, ttl_seconds=OWN_TTL_SECONDS, audience=audience)

    def _ice_servers(self, client: Client) -> tuple[dict[str, str], ...]:
        config = self.config
        return config.ice_server + turn.ice_servers(
            config.turn_url, self._credentials.turn_secret(), client.id, now=time.time(), ttl_seconds=config.turn_ttl
        )

    @property
    def port(self) -> int:
        """The TCP port in use."""
        return int(self._runner.addresses[0][1])

    @property
    def certificate(self) -> CertificateInfo | None:
        """The certificate in use; None without TLS."""
        return None if self._credentials.tls is None else self._credentials.tls.info

    @property
    def url(self) -> str:
        """What a browser on this machine opens."""
        return self.config.local_url(self.port)
