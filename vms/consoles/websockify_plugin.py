"""What the portal does to each connection of websockify: check, redeem, connect, carry, say goodbye."""

from __future__ import annotations

import secrets
import socket
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import structlog
from redis.exceptions import RedisError
from websockify.websocketproxy import ProxyRequestHandler

from portal.core.addresses import caller_address
from vms.consoles import registry, rfb, tickets
from vms.consoles.pump import Browser, ConsoleSocket, Sieve, from_browser, from_target, pump, say_goodbye
from vms.consoles.registry import Watcher
from vms.consoles.sessions import CloseCode, Ended, Ending, Session
from vms.consoles.tickets import Grant, Kind
from vms.consoles.viewers import Seat
from vms.consoles.warden import revoked

if TYPE_CHECKING:
    from vms.consoles.proxy import ConsoleProxy

log = structlog.get_logger()

REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
HANDSHAKE_TIMEOUT_S = 10.0


class Refused(Exception):
    """A request that gets an HTTP answer instead of a console; ``cause`` is for counters and logs."""

    def __init__(self, status: HTTPStatus, cause: str) -> None:
        super().__init__(cause)
        self.status = status
        self.cause = cause


class ConsoleHandler(ProxyRequestHandler):  # type: ignore[misc]  # websockify has no types
    """One connection. Answers every request that is no console with a short text, and never logs a request line."""

    SocketClass = ConsoleSocket
    timeout = REQUEST_TIMEOUT_S
    server_version = "console"
    sys_version = ""
    server: ConsoleProxy
    _grant: Grant

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """``/healthz`` and nothing else: this process serves no files."""
        if self.path == "/healthz":
            self._answer_health()
            return
        self.send_error(HTTPStatus.NOT_FOUND)

    def do_HEAD(self) -> None:  # noqa: N802 - http.server's name
        """As GET."""
        self.do_GET()

    def handle_upgrade(self) -> None:
        """Turn a ticket into a console, or answer 4xx before the upgrade."""
        try:
            self._check_origin()
            grant = self._redeem()
        except Refused as refused:
            self.server.warden.count(f"refused:{refused.cause}")
            log.info("console_refused", cause=refused.cause, address=self._address)
            self.send_error(refused.status)
            return
        self._normalise_subprotocols()
        self._grant = grant
        self.server.keep(self.request)
        super().handle_upgrade()

    def handle_websocket(self) -> None:
        """Run one console from the upgrade to its close frame."""
        watcher = _watcher(self._grant, self._address)
        session = Session(self._grant, watcher)
        words = {"guest": watcher.guest, "tenant": watcher.tenant, "user": watcher.user, "console": watcher.id}
        try:
            ending = self._guarded(session, words)
        finally:
            session.close()
        self.server.warden.count(f"closed:{ending.cause}")
        log.info("console_closed", cause=ending.cause, reason=ending.reason, **words)
        say_goodbye(self.request, ending)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nothing: websockify and http.server would write the request line, and the ticket with it."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing, for the same reason."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A status and two words of text; nothing of the request is repeated and the connection ends."""
        self._answer(HTTPStatus(code), HTTPStatus(code).phrase)

    @property
    def _address(self) -> str:
        """Whose browser it is. Several headers of the name are one list, as HTTP says."""
        peer = str(self.client_address[0]) if self.client_address else ""
        forwarded = ",".join(self.headers.get_all("X-Forwarded-For", []))
        return caller_address(peer, forwarded, hops=self.server.config.proxies)

    def _answer(self, status: HTTPStatus, text: str) -> None:
        body = f"{text}\n".encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer_health(self) -> None:
        try:
            self.server.redis.ping()
        except RedisError:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "redis does not answer")
            return
        self._answer(HTTPStatus.OK, "ok")

    def _check_origin(self) -> None:
        """Refuse a request of any page but the portal's: exactly one Origin, exactly equal."""
        origins = self.headers.get_all("Origin", [])
        if len(origins) != 1 or origins[0] not in self.server.config.origins:
            raise Refused(HTTPStatus.FORBIDDEN, "origin")

    def _redeem(self) -> Grant:
        if not self.server.warden.is_trusted:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "redis_lost")
        try:
            grant = tickets.redeem(self.server.redis, _ticket(self.path))
        except RedisError:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "redis_lost") from None
        if grant is None:
            raise Refused(HTTPStatus.FORBIDDEN, "ticket")
        if grant.origin != self.headers["Origin"]:
            raise Refused(HTTPStatus.FORBIDDEN, "origin")
        return grant

    def _normalise_subprotocols(self) -> None:
        """websockify compares subprotocols with the blanks around them and refuses its own choice."""
        offered = self.headers.get_all("Sec-WebSocket-Protocol", [])
        if offered:
            del self.headers["Sec-WebSocket-Protocol"]
            names = [name.strip() for line in offered for name in line.split(",")]
            self.headers["Sec-WebSocket-Protocol"] = ",".join(names)

    def _guarded(self, session: Session, words: dict[str, str]) -> Ending:
        """Carry the console; whatever goes wrong on the way becomes an ending."""
        redis, config = self.server.redis, self.server.config
        self.server.warden.admit(session)
        try:
            full = registry.enter(redis, session.watcher, per_guest=config.per_guest, per_user=config.per_user)
            if full:
                return Ending(CloseCode.FULL, full, "Too many consoles are open.")
            # The warden hears what is revoked from here on; this finds what came between the ticket and now.
            reason = registry.revoked_since(redis, session.grant, session.grant.mark)
            if reason is not None:
                return revoked(reason)
            self.server.warden.count(f"opened:{session.grant.kind}")
            log.info("console_opened", kind=session.grant.kind, address=self._address, **words)
            return self._carry(session)
        except Ended as ended:
            return ended.ending
        except RedisError:
            return Ending(CloseCode.NO_REDIS, "redis_lost", "The portal cannot vouch for this session.")
        except (OSError, rfb.HandshakeError) as error:
            log.warning("console_target_failed", error=type(error).__name__, detail=str(error), **words)
            return Ending(CloseCode.NO_TARGET, "no_target", "The machine's console does not answer.")
        finally:
            # In this order, or the warden's next refresh would enter the closed console again.
            self.server.warden.dismiss(session)
            self._leave(session.watcher)

    def _leave(self, watcher: Watcher) -> None:
        """Take the console out of the registry, or leave that to its expiry when redis does not answer."""
        try:
            registry.leave(self.server.redis, watcher)
        except RedisError:
            log.info("console_entry_left_to_expire", console=watcher.id)

    def _carry(self, session: Session) -> Ending:
        if self.request.socket.family != socket.AF_UNIX:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        grant = session.grant
        if grant.kind is Kind.SERIAL:
            seat = Seat(Browser(self.request, session), writable=grant.writable)
            self.server.hubs.join(seat, target=grant.target, log_path=grant.log_path)
            return seat.wait()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as display:
            display.settimeout(CONNECT_TIMEOUT_S)
            display.connect(grant.target)
            return self._carry_screen(display, session)

    def _carry_screen(self, display: socket.socket, session: Session) -> Ending:
        read = from_target(display, session, timeout_s=HANDSHAKE_TIMEOUT_S)
        rfb.answer_display(read, display.sendall, session.grant.password)
        browser = from_browser(self.request, session, timeout_s=HANDSHAKE_TIMEOUT_S)
        try:
            rfb.offer_browser(browser, self.request.push)
        except (OSError, rfb.HandshakeError):
            return Ending(CloseCode.PROTOCOL, "browser_handshake", "The browser did not speak RFB.")
        display.sendall(b"\x01")  # ClientInit: share the display with the other viewers
        sieve: Sieve | None = None if session.grant.writable else rfb.ViewOnly()
        return pump(self.request, display, session, sieve=sieve, early=bytes(browser.rest))


def _ticket(path: str) -> str:
    """The ticket in ``?ticket=``, else the last segment of the path; ``""`` when there is not exactly one."""
    parts = urlsplit(path)
    given = parse_qs(parts.query).get("ticket")
    if given is None:
        return parts.path.rpartition("/")[2]
    return given[0] if len(given) == 1 else ""


def _watcher(grant: Grant, address: str) -> Watcher:
    return Watcher(
        id=secrets.token_hex(8),
        user=grant.user,
        tenant=grant.tenant,
        guest=grant.guest,
        generation=grant.generation,
        kind=grant.kind.value,
        session=grant.session,
        writable=grant.writable,
        since=time.time(),
        address=address,
    )
