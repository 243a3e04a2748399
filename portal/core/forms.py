"""Forms and the refusals of services: a message stands beside the field it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django import forms

from portal.core.errors import Conflict, Invalid, TooMany


class Choice(forms.Select):
    """One of a few, drawn like the rest of the form."""

    def __init__(self, attrs: dict[str, Any] | None = None, choices: Any = ()) -> None:
        super().__init__({"class": "form-select", **(attrs or {})}, choices)


class Ticks(forms.CheckboxSelectMultiple):
    """Some of several, drawn like the rest of the form; the class of a box is for each box, not for what holds them."""

    def __init__(self, attrs: dict[str, Any] | None = None, choices: Any = ()) -> None:
        super().__init__({"class": "gh-ticks", **(attrs or {})}, choices)

    def create_option(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option: dict[str, Any] = super().create_option(*args, **kwargs)
        option["attrs"]["class"] = "form-check-input"
        return option


@contextmanager
def refusals_in(form: forms.Form, fields: Mapping[str, str] | None = None) -> Iterator[None]:
    """Turn ``Invalid``, ``Conflict`` and ``TooMany`` of a service into errors of ``form``.

    A pointer such as ``/ssh_keys/0`` finds the field of that name. ``fields`` says which field a refusal without pointers is
    about, by its code; whatever finds no field stands above the form, with its advice.
    """
    try:
        yield
    except (Invalid, Conflict, TooMany) as error:
        placed = [(fault.pointer.strip("/").split("/")[0], fault.message) for fault in error.errors]
        if not placed:
            placed = [((fields or {}).get(error.code, ""), f"{error.sentence} {error.advice}".strip())]
        for name, message in placed:
            form.add_error(name if name in form.fields else None, message)
