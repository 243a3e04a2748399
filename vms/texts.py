"""Text that may leave the portal for a host or a guest: what is never in it."""

from __future__ import annotations

import re

MAX_TEXT = 4096
"""Longest single attribute or text in characters; nothing a host needs comes near it."""

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\u2028\u2029]")


class UnsafeText(ValueError):
    """A text that must not reach a host: control characters, lone surrogates, non-characters, or far too long."""


def safe_text(value: str, *, where: str = "text") -> str:
    """Return ``value`` unchanged, or raise ``UnsafeText`` naming ``where`` (never quoting the value)."""
    if len(value) > MAX_TEXT:
        raise UnsafeText(f"{where} is longer than {MAX_TEXT} characters")
    if _UNSAFE.search(value) or any(ord(letter) & 0xFFFE == 0xFFFE for letter in value):
        raise UnsafeText(f"{where} holds a control character, a lone surrogate or a non-character")
    return value
