"""What a serial line said lately, as whoever comes later is shown it."""

from __future__ import annotations

import os
import re
from typing import Final

import structlog

log = structlog.get_logger()

SCROLLBACK: Final = 64 * 1024
QUERIES: Final = re.compile(
    rb"\x05"  # ENQ
    rb"|\x1b\[[?>=]?[0-9;]*[cn]"  # device attributes; device status and where the cursor is
    rb"|\x1b\[\??[0-9;]*\$p"  # a mode
    rb"|\x1b\[>[0-9;]*q"  # the terminal's version
    rb"|\x1b\[(?:1[13-689]|2[01])(?:;[0-9;]*)?t"  # the window
    rb"|\x1b\][0-9a-z;]+;\?(?:\x07|\x1b\\)"  # a colour; the clipboard
    rb"|\x1bP[$+]q[^\x1b]*\x1b\\"  # a setting; terminfo
)
"""What a terminal answers by itself, as xterm does (ECMA-48 §8.3 and xterm's control sequences)."""


class Past:
    """The last ``SCROLLBACK`` bytes of a line."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, data: bytes | memoryview) -> None:
        """Remember; up to twice as much as is shown is kept, rather than moved at every byte."""
        self._kept += data[-SCROLLBACK:]
        if len(self._kept) > 2 * SCROLLBACK:
            del self._kept[:-SCROLLBACK]

    def add_log(self, path: str) -> None:
        """Remember the end of a serial log; nothing when there is none or it may not be read."""
        if not path:
            return
        try:
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - SCROLLBACK))
                self.add(file.read(SCROLLBACK))
        except OSError as error:
            log.info("console_serial_log_unreadable", error=type(error).__name__)

    def shown(self) -> bytes:
        """What was said, without what was asked: the newcomer's terminal would answer, as if it were typed."""
        return QUERIES.sub(b"", self._kept[-SCROLLBACK:])
