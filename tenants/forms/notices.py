"""Where a person wants what they are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.utils.translation import gettext_lazy as _

from tenants.models import NoticeKind
from tenants.services.notices import ALWAYS_BY_MAIL

type Wishes = dict[NoticeKind, tuple[bool, bool]]
"""By kind: in the portal? By mail?"""


class ChoicesForm(forms.Form):
    """One row a kind: in the portal, by mail."""

    def __init__(self, *args: Any, wishes: Wishes, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind, (in_portal, by_mail) in wishes.items():
            always = kind in ALWAYS_BY_MAIL
            self.fields[f"{kind}_portal"] = _box(str(_("Portal")), initial=in_portal)
            self.fields[f"{kind}_mail"] = _box(str(_("Mail")), initial=by_mail or always, disabled=always)

    def rows(self) -> Iterator[tuple[NoticeKind, BoundField, BoundField]]:
        """Each kind with its two boxes."""
        for kind in NoticeKind:
            yield kind, self[f"{kind}_portal"], self[f"{kind}_mail"]

    def spec(self) -> Wishes:
        """What was ticked."""
        said = self.cleaned_data
        return {kind: (said[f"{kind}_portal"], said[f"{kind}_mail"]) for kind in NoticeKind}


def _box(label: str, *, initial: bool, disabled: bool = False) -> forms.BooleanField:
    box = forms.CheckboxInput({"class": "form-check-input"})
    return forms.BooleanField(label=label, required=False, initial=initial, disabled=disabled, widget=box)
