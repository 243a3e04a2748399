"""The serial line: one reader, many viewers, bounded memory."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.lab.waiting import wait_until
from tests.vms.consoles.conftest import Opener, closing, make_grant, run_proxy
from tests.vms.consoles.peers import Beside, ProxyProcess, Stream, qemu
from vms.consoles import serial
from vms.consoles.past import SCROLLBACK
from vms.consoles.tickets import Kind
from vms.consoles.viewers import Peer


def test_two_viewers_read_one_line_and_one_of_them_may_type(open_console: Opener, line: Beside) -> None:
    writer = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))
    reader = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path, writable=False)))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")

    reader.write(b"rm -rf /\r")
    writer.write(b"root\r")
    wait_until(lambda: line.received, timeout_s=3, what="input")
    line.say(b"Password: ")

    assert writer.read(10) == reader.read(10) == b"Password: "
    assert bytes(line.received) == b"root\r"
    assert len(line.clients) == 1


def test_a_viewer_that_breaks_the_protocol_takes_nobody_along(open_console: Opener, line: Beside) -> None:
    broken = open_console(make_grant(kind=Kind.SERIAL, target=line.path))
    reader = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")

    broken.send("a text message")

    assert closing(broken)[0] == 1003
    line.say(b"onward")
    assert reader.read(6) == b"onward"


def test_a_late_viewer_sees_the_recent_past(open_console: Opener, line: Beside) -> None:
    first = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
    line.say(b"x" * 100_000 + b"tiny login: ")
    first.read(100_012)

    late = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))

    assert late.read(SCROLLBACK) == b"x" * (SCROLLBACK - 12) + b"tiny login: "


def test_the_first_viewer_gets_the_past_from_the_log(open_console: Opener, line: Beside, folder: Path) -> None:
    log = folder / "serial.log"
    log.write_bytes(b"y" * 200_000 + b"booted\r\n")

    viewer = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path, log_path=str(log))))

    assert viewer.read(SCROLLBACK)[-8:] == b"booted\r\n"


def test_old_questions_are_not_answered_by_newcomers(open_console: Opener, line: Beside) -> None:
    asked = (
        b"\x05\x1b[6n\x1b[5n\x1b[?6n\x1b[c\x1b[>0c\x1b[?25$p\x1b[>0q\x1b[18t\x1b]10;?\x07\x1b]4;1;?\x1b\\\x1bP$qm\x1b\\"
    )
    said = b"\x1b[31mred\x1b[0m\x1b[2J\x1b[?25l\x1b]0;title\x07\x1b[1;1Hlogin: "
    first = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
    line.say(asked + said)
    assert first.read(len(asked + said)) == asked + said

    late = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))
    assert late.read(len(said)) == said
    line.say(b"\x1b[6n")
    assert late.read(4) == b"\x1b[6n"


def test_a_log_that_may_not_be_read_hinders_nobody(open_console: Opener, line: Beside, folder: Path) -> None:
    viewer = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path, log_path=str(folder))))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
    line.say(b"hello")

    assert viewer.read(5) == b"hello"


def test_viewers_stay_while_a_guest_restarts(open_console: Opener, folder: Path) -> None:
    line = Beside(folder / "restarting")
    viewer = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
    line.close()

    line = Beside(folder / "restarting")
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect again")
    line.say(b"again")

    assert viewer.read(5) == b"again"
    line.close()


def joined(hubs: serial.Hubs, target: str) -> socket.socket:
    """A viewer's end of the line at ``target``."""
    ours, theirs = socket.socketpair()
    hubs.join(Peer(theirs, writable=True), target=target)
    return ours


def test_a_line_that_never_was_there_closes_its_viewers(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(serial, "GIVE_UP_S", 0.5)

    with joined(serial.Hubs(folder), str(folder / "missing")) as viewer:
        viewer.settimeout(3)
        assert viewer.recv(1) == b""


def test_the_line_is_let_go_after_the_last_viewer(folder: Path) -> None:
    line, hubs = Beside(folder / "line"), serial.Hubs(folder, linger_s=0.2)
    joined(hubs, line.path).close()
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
    line.clients[0].settimeout(5)

    assert line.clients[0].recv(1) == b""
    with joined(hubs, line.path):
        wait_until(lambda: len(line.clients) == 2, timeout_s=3, what="a new hub")
    line.close()


def test_bytes_pass_unchanged(open_console: Opener, line: Beside) -> None:
    """P-A6: NUL, invalid UTF-8, escape sequences and a line of a MiB are only bytes here."""
    viewer = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path)))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
    data = bytes(range(256)) + b"\x1b]52;c;aGk=\x07<script>\xff\xfe" + b"z" * 1_048_576

    threading.Thread(target=line.say, args=(data,), daemon=True).start()

    assert viewer.read(len(data)) == data


@pytest.fixture
def flooded(line: Beside) -> Iterator[Beside]:
    """A line whose guest writes as fast as it is read."""
    stopped = threading.Event()

    def flood() -> None:
        wait_until(lambda: line.clients, timeout_s=5, what="the hub to connect")
        number = 0
        line.clients[0].settimeout(0.1)
        while not stopped.is_set():
            try:
                line.clients[0].sendall(b"%062d\r\n" % number * 1024)
            except TimeoutError:
                continue
            except OSError:
                return
            number += 1

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    yield line
    stopped.set()
    thread.join(5)


def test_a_flood_before_a_reader_that_sleeps_grows_no_memory(
    private_redis: str, redis: Redis, folder: Path, flooded: Beside, open_console: Opener
) -> None:
    with run_proxy(private_redis, folder) as proxy:
        sleeper = open_console(make_grant(kind=Kind.SERIAL, target=flooded.path), at=proxy)
        awake = Stream(open_console(make_grant(kind=Kind.SERIAL, target=flooded.path), at=proxy))
        awake.read(2**20)
        before = memory_kib(proxy)

        awake.read(32 * 2**20)

        assert memory_kib(proxy) - before < 2048
        skipped = Stream(sleeper).read_until(b"viewer was too slow]")
        assert re.search(rb"\[\d+ bytes of output skipped", skipped)


def test_a_flood_that_nobody_reads_does_not_hold_the_guest_up(open_console: Opener, line: Beside) -> None:
    open_console(make_grant(kind=Kind.SERIAL, target=line.path))
    wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
    line.clients[0].settimeout(serial.STALL_S + 5)

    for _ in range(64):
        line.clients[0].sendall(bytes(2**20))


def test_a_real_qemu_chardev_serves_two_viewers(open_console: Opener, folder: Path) -> None:
    with qemu(folder, password="x7Kd02mQ") as guest:
        grants = [make_grant(kind=Kind.SERIAL, target=str(guest / "line")) for _ in range(2)]
        one, two = (Stream(open_console(grant)) for grant in grants)
        one.read_until(b"(qemu) ")

        two.write(b"info status\r")

        assert b"VM status: running" in one.read_until(b"running")
        assert b"VM status: running" in two.read_until(b"running")


def memory_kib(proxy: ProxyProcess) -> int:
    """The process's own share of memory."""
    text = Path(f"/proc/{proxy.process.pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    assert found
    return int(found[1])


def test_two_proxies_share_a_line_and_survive_each_other(
    private_redis: str, redis: Redis, folder: Path, line: Beside, open_console: Opener
) -> None:
    with run_proxy(private_redis, folder) as second:
        with run_proxy(private_redis, folder) as first:
            ahead = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path), at=first))
            wait_until(lambda: line.clients, timeout_s=3, what="the hub to connect")
            line.say(b"past ")
            ahead.read(5)
            behind = Stream(open_console(make_grant(kind=Kind.SERIAL, target=line.path), at=second))
            assert behind.read(5) == b"past "
            behind.write(b"typed")
            wait_until(lambda: bytes(line.received) == b"typed", timeout_s=3, what="input through the other proxy")
            assert len(line.clients) == 1
        wait_until(lambda: len(line.clients) == 2, timeout_s=3, what="the second proxy to take over")
        line.clients[1].sendall(b"onward")
        assert behind.read(6) == b"onward"
