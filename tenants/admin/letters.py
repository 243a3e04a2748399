"""Mail that leaves, waits or was given up."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import Forecast, deed
from portal.admin_shown import choice, column, moment
from tenants.actors import Actor
from tenants.models import Letter
from tenants.services.letters import letter_retry


def _goes_again(self: Any, letter: Letter, actor: Actor) -> Forecast:
    if letter.sent_at is not None:
        return Forecast(False, _("has left already"))
    if letter.given_up_at is None:
        return Forecast(False, _("is still being tried"))
    return Forecast(True, _("is tried again from the beginning"))


States = choice(
    "state", gettext_lazy("state"),
    lambda: [
        ("given_up", gettext_lazy("Given up")),
        ("waiting", gettext_lazy("Waiting")),
        ("sent", gettext_lazy("Sent")),
    ],
    lambda word: {
        "given_up": Q(given_up_at__isnull=False),
        "waiting": Q(sent_at=None, given_up_at=None),
        "sent": Q(sent_at__isnull=False),
    }[word],
)  # fmt: skip


@admin.register(Letter)
class LetterAdmin(ServiceAdmin):
    """Mail; what a letter says is not here, since it may hold a link that opens something."""

    plural = gettext_lazy("Mail")
    lede = gettext_lazy("What the portal writes to people: sent, waiting for the mail server, or given up.")
    list_display = ("subject_shown", "address", "made", "left", "ended", "tries", "fault")
    list_filter = (States,)
    search_fields = ("to", "subject", "error")
    ordering = ("-created_at",)
    fieldsets = (
        (None, {"fields": ("subject_shown", "address", "tries", "fault")}),
        (gettext_lazy("When"), {"fields": ("made", "due", "left", "ended")}),
    )

    subject_shown = column("subject", gettext_lazy("Subject"))
    address = column("to", gettext_lazy("To"))
    tries = column("attempts", gettext_lazy("Tries"))
    fault = column("error", gettext_lazy("What went wrong"))
    made = moment("created_at", gettext_lazy("Written"))
    due = moment("due_at", gettext_lazy("Next try"))
    left = moment("sent_at", gettext_lazy("Sent"))
    ended = moment("given_up_at", gettext_lazy("Given up"))

    @deed(
        gettext_lazy("Send again"),
        explain=gettext_lazy("Tries a letter that was given up once more, from the beginning. First mend what is in its way."),
        icon="mail", many=True, foresee=_goes_again,
    )  # fmt: skip
    def send_again(self, letter: Letter, actor: Actor, answers: dict[str, Any]) -> str:
        letter_retry(letter, actor=actor)
        return _("%s is tried again.") % letter
