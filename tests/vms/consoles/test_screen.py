"""The screen, on a fake display and on a real QEMU's."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.waiting import wait_until
from tests.vms.consoles.conftest import Opener, closing, make_grant
from tests.vms.consoles.peers import Display, ProxyProcess, Stream, qemu


def test_the_browser_meets_a_display_without_a_password(screen: Callable[..., Stream], display: Display) -> None:
    browser = screen()

    browser.write(b"\x03\0\0\0\0\0\0\x40\0\x30")
    display.say(b"picture")

    assert browser.read(7) == b"picture"
    wait_until(lambda: bytes(display.received) == b"\x03\0\0\0\0\0\0\x40\0\x30", timeout_s=2, what="the input")
    assert browser.connection.subprotocol == "binary"


def test_a_viewer_never_throws_the_others_out(screen: Callable[..., Stream], display: Display) -> None:
    """``shake_hands`` asks for exclusive use."""
    screen()

    assert display.shared == b"\x01"


def test_a_real_qemu_shows_its_first_frame(open_console: Opener, folder: Path) -> None:
    with qemu(folder, password="x7Kd02mQ") as guest:
        browser = Stream(open_console(make_grant(target=str(guest / "vnc"), password="x7Kd02mQ")))

        width, height = browser.shake_hands()
        browser.write(struct.pack(">BxHi", 2, 1, 0))
        browser.write(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
        kind, rectangles = struct.unpack(">BxH", browser.read(4))
        _, _, w, h, encoding = struct.unpack(">HHHHi", browser.read(12))

        assert (kind, encoding) == (0, 0)
        assert rectangles >= 1
        assert len(browser.read(w * h * 4)) == w * h * 4


@pytest.mark.parametrize(
    ("types", "password"),
    [(b"\x01", "geheim12"), (b"\x01\x02", "geheim12"), (b"\x13", "geheim12"), (b"\x02", "falsch12")],
    ids=["none", "none too", "no password type", "wrong password"],
)
def test_a_display_that_is_not_as_we_set_it_is_shown_to_nobody(
    open_console: Opener, proxy: ProxyProcess, folder: Path, types: bytes, password: str
) -> None:
    """P-A11."""
    display = Display(folder / "open", types=types)
    connection = open_console(make_grant(target=display.path, password=password))

    assert closing(connection) == (4502, "The machine's console does not answer.")
    display.close()


def test_a_viewer_who_may_only_look_sends_no_key(screen: Callable[..., Stream], display: Display) -> None:
    browser = screen(writable=False)
    asking = struct.pack(">BBHHHH", 3, 1, 0, 0, 64, 48)

    for part in (b"\x04\x01\0\0\0\0\0\x41", b"\x05\x01\0\x09\0\x09", b"\x06\0\0\0\0\0\0\x03abc", asking):
        browser.write(part[:1])
        browser.write(part[1:])

    wait_until(lambda: asking in bytes(display.received), timeout_s=2, what="the request")
    assert bytes(display.received) == asking


def test_a_guest_that_is_gone_closes_with_a_reason(open_console: Opener) -> None:
    assert closing(open_console(make_grant()))[0] == 4502


def test_a_display_that_closes_closes_the_browser(screen: Callable[..., Stream], display: Display) -> None:
    browser = screen()

    display.hang_up()

    assert closing(browser.connection) == (1000, "The machine closed its console.")


def test_an_open_console_ends_with_its_session(screen: Callable[..., Stream]) -> None:
    browser = screen(expires_at=time.time() + 1.2)

    assert closing(browser.connection)[0] == 4408
