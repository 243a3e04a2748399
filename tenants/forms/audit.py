"""Forms about the audit log."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.utils.translation import gettext_lazy as _

from tenants.actors import Actor
from tenants.journal.chain import Mark
from tenants.journal.search import AuditSearch

NOUNS: Final = [
    ("", _("Everything")),
    ("guest.", _("Machines")),
    ("network.", _("Networks")),
    ("key.", _("SSH keys")),
    ("member.", _("Members")),
    ("invitation.", _("Invitations")),
    ("role.", _("Roles")),
    ("token.", _("API tokens")),
    ("quota.", _("Quota")),
    ("operation.", _("Called-off work")),
    ("visit.", _("Operators' visits")),
    ("tenant.", _("The project itself")),
]
"""What a log is most often narrowed to: all that is said of one noun."""


class AuditForm(forms.Form):
    """What is looked for; every field may stay empty."""

    q = forms.CharField(label=_("Search the log"), max_length=100, required=False)
    action = forms.ChoiceField(label=_("About"), choices=NOUNS, required=False)
    actor = forms.CharField(label=_("By (address)"), max_length=254, required=False)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = _zone(actor)

    def spec(self) -> AuditSearch:
        """The same for the log; days are the reader's, the last one is meant whole."""
        found = self.cleaned_data
        since, until = found["since"], found["until"]
        return AuditSearch(
            q=found["q"],
            action=found["action"],
            actor=found["actor"],
            since=datetime.combine(since, time.min, self.zone) if since else None,
            until=datetime.combine(until + timedelta(days=1), time.min, self.zone) if until else None,
        )


class VerifyForm(forms.Form):
    """The place of the log that somebody kept: the number of an entry and its hash; both or none."""

    after_seq = forms.IntegerField(label=_("Number of the entry"), min_value=0, max_value=2**63 - 1, required=False)
    hash = forms.RegexField(
        r"^[0-9a-f]{64}$", label=_("Its hash"), required=False, error_messages={"invalid": _("64 digits, 0-9 and a-f.")}
    )

    def clean(self) -> dict[str, Any]:
        """Half of a place is none."""
        found: dict[str, Any] = super().clean() or {}
        if not self.errors and (found.get("after_seq") is None) != (not found.get("hash")):
            raise forms.ValidationError(_("Give the number and the hash, or neither."))
        return found

    def spec(self) -> Mark | None:
        """The place; None to look from the beginning."""
        if not self.cleaned_data["hash"]:
            return None
        return Mark(self.cleaned_data["after_seq"], self.cleaned_data["hash"])


def _zone(actor: Actor) -> ZoneInfo:
    try:
        return ZoneInfo(actor.user.timezone if actor.user is not None else "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
