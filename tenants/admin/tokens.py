"""API tokens, of everybody."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import Forecast, deed
from portal.admin_shown import choice, column, moment, mono
from tenants.actors import Actor
from tenants.models import ApiToken
from tenants.services.tokens import token_revoke


def _token_ends(self: Any, token: ApiToken, actor: Actor) -> Forecast:
    if token.revoked_at is not None:
        return Forecast(False, _("is revoked already"))
    return Forecast(True, _("ends at once, with the consoles it opened"))


Revoked = choice(
    "revoked", gettext_lazy("state"),
    lambda: [("no", gettext_lazy("Not revoked")), ("yes", gettext_lazy("Revoked"))],
    lambda word: Q(revoked_at__isnull=word == "no"),
)  # fmt: skip


@admin.register(ApiToken)
class ApiTokenAdmin(ServiceAdmin):
    """API tokens; what they are made of is not here, only their first letters."""

    plural = gettext_lazy("API tokens")
    lede = gettext_lazy("Of everybody. Only a token's first letters are known here.")
    list_display = ("prefix_shown", "name", "user", "tenant", "used", "ends", "ended")
    list_filter = (Revoked,)
    list_select_related = ("user", "tenant")
    search_fields = ("prefix", "name", "user__email", "tenant__slug")
    ordering = ("-created_at",)
    fieldsets = (
        (None, {"fields": ("prefix_shown", "name", "user", "tenant", "scopes")}),
        (gettext_lazy("When"), {"fields": ("made", "used", "ends", "ended")}),
    )

    prefix_shown = column("prefix", gettext_lazy("Token"), lambda prefix: mono(f"{prefix}…"))
    made = moment("created_at", gettext_lazy("Made"))
    used = moment("last_used_at", gettext_lazy("Last used"))
    ends = moment("expires_at", gettext_lazy("Expires"), "date")
    ended = moment("revoked_at", gettext_lazy("Revoked"))

    @admin.display(description=gettext_lazy("May"))
    def scopes(self, token: ApiToken) -> str:
        return _("what its owner may") if token.permissions is None else ", ".join(token.permissions) or _("nothing")

    @deed(
        gettext_lazy("Revoke"),
        explain=gettext_lazy("Ends the token at once, with the consoles that were opened by it. It cannot be brought back."),
        icon="x", many=True, danger=True, foresee=_token_ends,
    )  # fmt: skip
    def revoke(self, token: ApiToken, actor: Actor, answers: dict[str, Any]) -> str:
        token_revoke(token, actor=actor)
        return _("%s is revoked.") % token
