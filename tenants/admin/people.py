"""People who can sign in, and what they are where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, Revealed, deed
from portal.admin_shown import Panel, column, labelled, moment, mono, yes_no
from tenants.actors import Actor
from tenants.models import Member, User
from tenants.services.people import password_make, password_set, user_create


class PersonForm(DeedForm):
    """Who a new person is."""

    email = forms.EmailField(label=gettext_lazy("E-mail address"))
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100, required=False)
    operator = forms.BooleanField(
        label=gettext_lazy("Operator"), required=False,
        help_text=gettext_lazy("May do everything here, in every tenant."),
    )  # fmt: skip


@admin.register(User)
class UserAdmin(ServiceAdmin):
    """People who can sign in."""

    plural = gettext_lazy("People")
    lede = gettext_lazy("Everybody who can sign in. What they may do is their role in each tenant.")
    list_display = ("email", "name", "operator", "active", "signed_in", "joined")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    fieldsets = (
        (None, {"fields": ("email", "name", "operator", "active")}),
        (gettext_lazy("More"), {"fields": ("timezone", "language", "signed_in", "joined", "uuid")}),
    )

    signed_in = moment("last_login", gettext_lazy("Last sign-in"))
    joined = moment("date_joined", gettext_lazy("Since"), "date")
    operator = column("is_staff", gettext_lazy("Operator"), yes_no)
    active = column("is_active", gettext_lazy("May sign in"), yes_no)
    uuid = column("pk", gettext_lazy("Id"), mono)

    def panels(self, user: User) -> Iterable[Panel]:
        members = Member.objects.filter(user=user).select_related("tenant", "role").order_by("tenant__slug")
        yield Panel(
            _("In tenants"),
            [_("Tenant"), _("Role")],
            [(labelled(member.tenant), member.role.name) for member in members],
            _("In none."),
        )

    @deed(
        gettext_lazy("Add a person"),
        explain=gettext_lazy("Makes somebody who can sign in, with a random password that is shown once."),
        icon="user-plus", form=PersonForm, adds=True,
    )  # fmt: skip
    def add(self, row: None, actor: Actor, answers: dict[str, Any]) -> Revealed:
        password = password_make()
        user = user_create(password=password, actor=actor, **answers)
        return Revealed(_("%s is added.") % user, _("Their password"), password)

    @deed(
        gettext_lazy("New password"),
        explain=gettext_lazy(
            "Makes a random password that is shown once. Wherever they are signed in ends, with open consoles; "
            "a second factor stays."
        ),
        icon="key", danger=True, foresee=lambda self, user, actor: Forecast(True, _("is signed out everywhere")),
    )  # fmt: skip
    def new_password(self, user: User, actor: Actor, answers: dict[str, Any]) -> Revealed:
        password = password_make()
        password_set(user, password=password, actor=actor)
        return Revealed(_("%s has a new password.") % user, _("Their password"), password)


@admin.register(Member)
class MemberAdmin(ServiceAdmin):
    """Who is in which tenant."""

    plural = gettext_lazy("Members")
    lede = gettext_lazy("Who is in which tenant, as what. Owners and admins manage them in their own pages.")
    list_display = ("user", "tenant", "role", "made")
    list_filter = ("role",)
    list_select_related = ("user", "tenant", "role")
    search_fields = ("user__email", "user__name", "tenant__slug", "tenant__name")
    ordering = ("tenant__slug", "user__email")
    fieldsets = ((None, {"fields": ("user", "tenant", "role", "made")}),)

    made = moment("created_at", gettext_lazy("Since"), "date")
