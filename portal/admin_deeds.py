"""What a deed of the operators' site is: its words, its questions, and what it would do to a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from django import forms

from portal.admin_shown import Words
from portal.core.errors import PortalError
from tenants.actors import Actor

F = TypeVar("F", bound=Callable[..., Any])
DEED_MARK: Final = "deed"


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a deed would do to a row, in words; ``does`` is False where it would be refused."""

    does: bool
    words: Words


@dataclass(frozen=True, slots=True)
class Revealed:
    """What a deed says that must be shown once and written down nowhere: a password."""

    said: str
    label: Words
    secret: str


class DeedForm(forms.Form):
    """The questions of a deed; ``row`` is None where something new is made. Errors of the service land at its fields."""

    in_pairs: ClassVar[bool] = False
    """Two fields stand beside each other where there is room."""

    def __init__(self, *args: Any, row: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row
        for field in self.fields.values():
            field.widget.attrs.setdefault("autocomplete", "off")

    def refuse(self, error: PortalError) -> None:
        """Put a refusal where it belongs: at the field it names, else above the form."""
        unplaced = True
        for wrong in error.errors:
            name = wrong.pointer.strip("/").split("/")[0]
            if name in self.fields:
                self.add_error(name, wrong.message)
                unplaced = False
        if unplaced:
            self.add_error(None, sentence(error))


@dataclass(frozen=True, slots=True)
class Deed:
    """What a button does. ``explain`` says it to the operator; ``foresee`` judges one row before it is asked."""

    name: str
    label: Words
    explain: Words
    icon: str
    form: type[DeedForm]
    many: bool
    danger: bool
    adds: bool
    foresee: Callable[[Any, Any, Actor], Forecast] | None

    def forecast(self, model_admin: Any, row: Any, actor: Actor) -> Forecast:
        """What would happen to ``row``."""
        return self.foresee(model_admin, row, actor) if self.foresee else Forecast(True, self.label)


def deed(
    label: Words,
    *,
    explain: Words,
    icon: str = "bolt",
    form: type[DeedForm] = DeedForm,
    many: bool = False,
    danger: bool = False,
    adds: bool = False,
    foresee: Callable[[Any, Any, Actor], Forecast] | None = None,
) -> Callable[[F], F]:
    """Make a method ``(self, row, actor, answers) -> sentence`` a deed; ``adds`` is for the one that makes a new row.

    A method whose answer holds a secret returns ``Revealed``; such a deed is never for many.
    """

    def mark(function: F) -> F:
        made = Deed(function.__name__, label, explain, icon, form, many, danger, adds, foresee)
        setattr(function, DEED_MARK, made)
        return function

    return mark


def sentence(error: PortalError) -> str:
    """A refusal and what to do about it."""
    wrong = " ".join(each.message for each in error.errors)
    return " ".join(part for part in (error.sentence, wrong, error.advice) if part)
