"""No ticket and no password in anything that is written down; and the numbers that are."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from pathlib import Path

from redis import Redis

from tests.lab.waiting import wait_until
from tests.support.redis import own_redis
from tests.vms.consoles.conftest import browse, closing, make_grant, run_proxy
from tests.vms.consoles.peers import Beside, Display, Stream
from tests.vms.consoles.test_door import ask, upgrade
from vms.consoles import registry, tickets
from vms.consoles.tickets import Kind


def test_no_secret_is_written_down(folder: Path, line: Beside) -> None:
    """P-A3: logs, process arguments, redis; for consoles that work, fail, are refused and are revoked."""
    password = secrets.token_hex(4)
    display = Display(folder / "vnc", password)
    issued = []
    with own_redis() as server, Redis.from_url(server.url) as redis, run_proxy(server.url, folder) as proxy:
        wait_until(lambda: registry.is_alive(redis), timeout_s=10, what="the proxy's heartbeat")
        good = make_grant(target=display.path, password=password)
        with Redis.from_url(server.url).monitor() as monitor, contextlib.ExitStack() as stack:
            monitor.connection._sock.settimeout(0.5)
            for grant in (
                good,
                make_grant(kind=Kind.SERIAL, target=line.path),
                make_grant(target=display.path, password="wrong123"),
                make_grant(password=password),
            ):
                issued.append(tickets.issue(redis, grant))
                url = tickets.address(f"ws://127.0.0.1:{proxy.port}/console/ws", issued[-1])
                connection = stack.enter_context(browse(url))
                if grant is good:
                    Stream(connection).shake_hands()
            for extra in ("Origin: http://evil.example", "Origin: http://127.0.0.1:8000"):
                issued.append(secrets.token_urlsafe(32))
                ask(proxy, upgrade(f"/?ticket={issued[-1]}", extra))
                ask(proxy, upgrade(f"/{issued[-1]}", extra))
                ask(proxy, f"GET /?ticket={issued[-1]} HTTP/1.1\r\n\r\n")
                ask(proxy, f"BREW /?ticket={issued[-1]} HTTP/9\r\n\r\n")
            registry.revoke(redis, reason="signed_out", user=good.user)
            wait_until(lambda: not registry.watchers(redis, good.guest), timeout_s=3, what="the console to close")
            seen = []
            with contextlib.suppress(Exception):
                while True:
                    seen.append(str(monitor.next_command()))
        arguments = Path(f"/proc/{proxy.process.pid}/cmdline").read_text()
    written = proxy.log + arguments + "".join(seen)
    display.close()

    assert "console_opened" in proxy.log
    assert "console_target_failed" in proxy.log
    assert "GETDEL" in written
    for secret in (*issued, password, "wrong123"):
        assert secret not in written
    assert all(json.loads(entry) for entry in proxy.log.splitlines())


def test_what_happened_is_counted(folder: Path, display: Display) -> None:
    with own_redis() as server, Redis.from_url(server.url) as redis, run_proxy(server.url, folder) as proxy:
        wait_until(lambda: registry.is_alive(redis), timeout_s=10, what="the proxy's heartbeat")
        grant = make_grant(target=display.path)
        url = tickets.address(f"ws://127.0.0.1:{proxy.port}/", tickets.issue(redis, grant))
        with browse(url) as connection:
            Stream(connection).shake_hands()
            registry.revoke(redis, reason="signed_out", session=grant.session)
            closing(connection)
        ask(proxy, upgrade("/?ticket=x", "Origin: http://127.0.0.1:8000"))
        ask(proxy, upgrade("/?ticket=x"))

        wanted = {"opened:vnc": 1, "closed:revoked": 1, "refused:ticket": 1, "refused:origin": 1}
        wait_until(lambda: registry.counters(redis) == wanted, timeout_s=5, what="the counters")


def test_the_process_knows_nothing_of_django() -> None:
    """The console process reaches no database, and stays small."""
    look = "import sys, vms.consoles.proxy; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout.split()

    assert not {"django", "celery", "channels", "libvirt"} & set(modules)


def test_what_issues_tickets_does_not_load_websockify() -> None:
    look = "import sys, vms.consoles.tickets, vms.consoles.registry; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", look], check=True, capture_output=True, text=True).stdout.split()

    assert not {"websockify", "numpy"} & set(modules)
