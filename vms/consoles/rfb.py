"""The two RFB handshakes a proxy stands between, and a sieve for viewers who may only look.

Towards the display: RFB 3.8 with VncAuth. Towards the browser: security type None, so no display password leaves us.
Source: https://www.rfc-editor.org/rfc/rfc6143.html#section-7
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

VERSION = b"RFB 003.008\n"
NONE, VNC_AUTH = 1, 2
OK = struct.pack(">I", 0)
LONGEST_REASON = 1024

Read = Callable[[int], bytes]
Write = Callable[[bytes], None]


class HandshakeError(Exception):
    """The other side does not speak RFB as we need it; the text is for logs and holds no secret."""


def answer_display(read: Read, write: Write, password: str) -> None:
    """Authenticate to a display up to, not including, ClientInit.

    Raises ``HandshakeError`` when the password is wrong and when the display would let anybody in (type None): such a
    display is misconfigured and shown to no one.
    """
    version = read(12)
    if not version.startswith(b"RFB 003.") or version < VERSION:
        raise HandshakeError("display does not speak RFB 3.8")
    write(VERSION)
    number = read(1)[0]
    if number == 0:
        raise HandshakeError("display refused the connection")
    offered = read(number)
    if NONE in offered or VNC_AUTH not in offered:
        raise HandshakeError("display asks for no password")
    write(bytes([VNC_AUTH]))
    write(respond(read(16), password))
    if read(4) != OK:
        raise HandshakeError("display refused its password")


def offer_browser(read: Read, write: Write) -> None:
    """Be a display of security type None to a browser, up to and including its ClientInit.

    RFB 3.3, 3.7 and 3.8 are answered. ClientInit's wish to throw other viewers out is not passed on.
    """
    write(VERSION)
    version = read(12)
    if version == b"RFB 003.003\n":
        write(struct.pack(">I", NONE))
    elif version in (b"RFB 003.007\n", VERSION):
        write(bytes([1, NONE]))
        if read(1)[0] != NONE:
            raise HandshakeError("browser chose a security type it was not offered")
        if version == VERSION:
            write(OK)
    else:
        raise HandshakeError("browser does not speak RFB 3")
    read(1)


def respond(challenge: bytes, password: str) -> bytes:
    """VncAuth's answer: the challenge under DES, with the bits of each of the 8 key bytes mirrored.

    Source: https://www.rfc-editor.org/rfc/rfc6143.html#section-7.2.2 and its erratum 4951 for the mirrored bits.
    """
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode("latin-1")[:8].ljust(8, b"\0"))
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()
    return encryptor.update(challenge) + encryptor.finalize()


class ViewOnly:
    """Passes a browser's messages that ask for pictures and drops those that would do something to the guest."""

    # type → (length of the fixed part, offset and struct of a count in it, bytes per counted item, passed on?)
    SHAPES: dict[int, tuple[int, int, str, int, bool]] = {
        0: (20, 0, "", 0, True),  # SetPixelFormat
        2: (4, 2, ">H", 4, True),  # SetEncodings
        3: (10, 0, "", 0, True),  # FramebufferUpdateRequest
        4: (8, 0, "", 0, False),  # KeyEvent
        5: (6, 0, "", 0, False),  # PointerEvent
        6: (8, 4, ">i", 1, False),  # ClientCutText; negative: the extended clipboard
        150: (10, 0, "", 0, True),  # EnableContinuousUpdates
        248: (9, 8, ">B", 1, True),  # ClientFence
        250: (4, 0, "", 0, False),  # xvp: power
        251: (8, 6, ">B", 16, False),  # SetDesktopSize
    }
    QEMU, QEMU_KEY = 255, 0
    QEMU_KEY_LENGTH = 12

    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0

    def __call__(self, data: bytes) -> bytes:
        """The part of the stream to pass on; raises ``HandshakeError`` at a message whose length is unknown."""
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        buffer, passed = self._rest + data, []
        while buffer:
            measured = self._measure(buffer)
            if measured is None:
                break
            length, keep = measured
            if not keep:
                self._skip = max(0, length - len(buffer))
            elif length > len(buffer):
                break
            else:
                passed.append(buffer[:length])
            buffer = buffer[length:]
        self._rest = buffer
        return b"".join(passed)

    def _measure(self, buffer: bytes) -> tuple[int, bool] | None:
        """Length and fate of the first message, None while too little of it is there."""
        if buffer[0] == self.QEMU:
            if len(buffer) < 2:
                return None
            if buffer[1] != self.QEMU_KEY:
                raise HandshakeError("viewer sent a message that is not for viewers")
            return self.QEMU_KEY_LENGTH, False
        shape = self.SHAPES.get(buffer[0])
        if shape is None:
            raise HandshakeError("viewer sent an unknown message")
        fixed, offset, form, each, keep = shape
        if not form:
            return fixed, keep
        if len(buffer) < fixed:
            return None
        return fixed + each * abs(struct.unpack_from(form, buffer, offset)[0]), keep
