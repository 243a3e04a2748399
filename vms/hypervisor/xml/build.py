"""Make XML elements from typed values; the one place where a Python value becomes a libvirt string."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lxml import etree

type Element = etree._Element
type Value = str | int | bool | None

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


def node(
    tag: str,
    attributes: Mapping[str, Value] | None = None,
    *children: Element | str | int | None,
    nsmap: dict[str, str] | None = None,
) -> Element:
    """One element. Attributes and children that are None are left out; bools become ``yes`` and ``no``.

    ``tag`` may be ``{namespace}name`` with ``nsmap`` giving its prefix. (lxml's own ``E`` is untyped, and would pass
    line breaks and other control characters.)
    """
    made = etree.Element(tag, nsmap=nsmap)
    for key, value in (attributes or {}).items():
        if value is not None:
            made.set(key, _string(value, f"{tag}/@{key}"))
    for child in children:
        if isinstance(child, str | int):
            made.text = _string(child, tag)
        elif child is not None:
            made.append(child)
    return made


def to_xml(element: Element) -> str:
    """The element as indented text, without a declaration."""
    return str(etree.tostring(element, encoding="unicode", pretty_print=True))


def _string(value: str | int, where: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    return safe_text(value, where=where)
