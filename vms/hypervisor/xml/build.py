"""Make XML elements from typed values; the one place where a Python value becomes a libvirt string."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

from vms.texts import MAX_TEXT, UnsafeText, safe_text

__all__ = ["MAX_TEXT", "Element", "UnsafeText", "Value", "node", "safe_text", "to_xml"]

type Element = etree._Element
type Value = str | int | bool | None


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
