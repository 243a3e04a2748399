"""The handshakes and the sieve, without sockets."""

from __future__ import annotations

import io
import random
import struct

import pytest

from vms.consoles import rfb

SHOWING = (
    b"\x00\0\0\0" + bytes(16),
    struct.pack(">BxHiii", 2, 3, 0, 1, -223),
    b"\x03\x01" + bytes(8),
    b"\x96\x01" + bytes(8),
    b"\xf8\0\0\0" + bytes(4) + b"\x02ab",
)
DOING = (
    b"\x04\x01\0\0\0\0\0\x41",
    b"\x05\x01\0\x09\0\x09",
    struct.pack(">Bxxxi", 6, 300) + b"\x03" * 300,
    struct.pack(">Bxxxi", 6, -8) + b"\x03" * 8,
    b"\xfa\0\x01\x02",
    b"\xfb\0" + struct.pack(">HHBx", 800, 600, 1) + bytes(16),
    b"\xff\0" + bytes(10),
)


def test_vncauth_is_des_with_eight_characters() -> None:
    """Eight zero bytes under a zero key are DES's classic vector; the real QEMU in ``test_screen`` checks the mirroring."""
    assert rfb.respond(bytes(range(16)), "").hex() == rfb.respond(bytes(range(16)), "\0" * 8).hex()
    assert rfb.respond(bytes(16), "").hex() == "8ca64de9c1b123a7" * 2
    assert rfb.respond(bytes(range(16)), "password") == rfb.respond(bytes(range(16)), "password-longer")


@pytest.mark.parametrize("seed", range(20))
def test_the_sieve_passes_looking_and_drops_doing_however_it_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    messages = [rng.choice(SHOWING + DOING) for _ in range(200)]
    stream, passed, sieve = b"".join(messages), b"", rfb.ViewOnly()

    while stream:
        cut = rng.choice((1, 2, 3, 7, 50, 1000))
        passed += sieve(stream[:cut])
        stream = stream[cut:]

    assert passed == b"".join(message for message in messages if message in SHOWING)


@pytest.mark.parametrize("data", [b"\x01", b"\xff\x01\0\0", b"\x7f" * 20], ids=["unknown", "qemu audio", "junk"])
def test_what_the_sieve_cannot_measure_ends_the_console(data: bytes) -> None:
    with pytest.raises(rfb.HandshakeError):
        rfb.ViewOnly()(data)


@pytest.mark.parametrize(
    ("spoken", "answer"),
    [
        (b"RFB 003.008\n\x01\x00", rfb.VERSION + b"\x01\x01\0\0\0\0"),
        (b"RFB 003.007\n\x01\x01", rfb.VERSION + b"\x01\x01"),
        (b"RFB 003.003\n\x01", rfb.VERSION + b"\0\0\0\x01"),
    ],
    ids=["3.8", "3.7", "3.3"],
)
def test_browsers_of_every_rfb_version_are_answered(spoken: bytes, answer: bytes) -> None:
    heard, said = io.BytesIO(spoken), io.BytesIO()

    rfb.offer_browser(heard.read, lambda data: said.write(data) and None)

    assert said.getvalue() == answer
    assert heard.read() == b""


@pytest.mark.parametrize("spoken", [b"GET / HTTP/1", b"RFB 003.008\n\x02", b"RFB 004.000\n"])
def test_a_browser_that_speaks_otherwise_is_sent_away(spoken: bytes) -> None:
    with pytest.raises(rfb.HandshakeError):
        rfb.offer_browser(io.BytesIO(spoken).read, lambda _: None)
