"""Tenants, for operators: made, suspended with a reason, given more or less, and their first people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Note, Panel, column, labelled, moment, mono, state
from tenants.actors import Actor
from tenants.admin.quota import QuotaForm, quota_change, quota_panel
from tenants.models import SLUG, Member, Tenant, TenantState, User
from tenants.policy import BUILT_IN_ROLES
from tenants.scoping import tenant_scope
from tenants.services.ending import tenant_left
from tenants.services.members import member_add
from tenants.services.roles import role_named
from tenants.services.tenants import tenant_close, tenant_create, tenant_reopen, tenant_suspend, tenant_unsuspend
from tenants.services.tenants.standing import KEEP, STOP

SHAPES = {
    TenantState.ACTIVE: "running",
    TenantState.SUSPENDED: "paused",
    TenantState.CLOSING: "paused",
    TenantState.CLOSED: "stopped",
}
LEFT_SHOWN = 50


class TenantForm(DeedForm):
    """What a new tenant is called."""

    slug = forms.CharField(
        label=gettext_lazy("Short name"), max_length=40, validators=[SLUG],
        help_text=gettext_lazy("Stands in addresses and never changes: small letters, digits and hyphens."),
    )  # fmt: skip
    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)


class ReasonForm(DeedForm):
    """Why; the tenant's people read it."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=500, help_text=gettext_lazy("The tenant's people read it.")
    )


class SuspendForm(ReasonForm):
    """Why, and what becomes of the machines."""

    guests = forms.ChoiceField(
        label=gettext_lazy("Machines"), required=False, initial=STOP,
        choices=[(STOP, gettext_lazy("Shut them down")), (KEEP, gettext_lazy("Keep them running"))],
    )  # fmt: skip


class CloseForm(ReasonForm):
    """Why, with the short name typed."""

    confirm = forms.CharField(label=gettext_lazy("Type its short name to confirm"), max_length=40)


class MemberForm(DeedForm):
    """Who comes in, and as what."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail address"), help_text=gettext_lazy("Of somebody who can sign in already.")
    )
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=[(name, name) for name in BUILT_IN_ROLES], initial="owner"
    )

    def clean_email(self) -> User:
        """The person."""
        person = User.objects.filter(email__iexact=self.cleaned_data["email"], is_active=True).first()
        if person is None:
            raise forms.ValidationError(_("Nobody with this address can sign in. Add the person first."))
        return person


def _suspends(self: Any, tenant: Tenant, actor: Actor) -> Forecast:
    if tenant.state != TenantState.ACTIVE:
        return Forecast(False, _("is not active"))
    return Forecast(True, _("its people, and those of the tenants below it, may only look; open consoles close"))


def _revives(self: Any, tenant: Tenant, actor: Actor) -> Forecast:
    if tenant.state != TenantState.SUSPENDED:
        return Forecast(False, _("is not suspended"))
    return Forecast(True, _("its people may work again; its machines stay as they are"))


def _closes(self: Any, tenant: Tenant, actor: Actor) -> Forecast:
    if tenant.state == TenantState.CLOSED or (tenant.held and tenant.state == TenantState.CLOSING):
        return Forecast(False, _("is closed or being closed"))
    if tenant.state == TenantState.CLOSING:
        return Forecast(True, _("its owner closes it already; from now on only an operator reopens it"))
    days = settings.CLOSING_GRACE.days
    return Forecast(True, _("its machines are shut down; in %d days everything in it is removed for good") % days)


def _reopens(self: Any, tenant: Tenant, actor: Actor) -> Forecast:
    if tenant.state != TenantState.CLOSING:
        return Forecast(False, _("is not being closed"))
    return Forecast(True, _("its people may work again; its machines stay stopped"))


@admin.register(Tenant)
class TenantAdmin(ServiceAdmin):
    """Tenants."""

    plural = gettext_lazy("Tenants")
    lede = gettext_lazy("Customers: their people, quota and machines.")
    list_display = ("name", "slug", "shown_state", "members", "made")
    list_filter = ("state",)
    search_fields = ("name", "slug")
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("shown_state", "slug", "parent", "members", "made")}),
        (gettext_lazy("Settings"), {"fields": ("timezone", "language", "bin_days", "uuid")}),
    )

    made = moment("created_at", gettext_lazy("Created"), "date")
    uuid = column("pk", gettext_lazy("Id"), mono)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        rows: QuerySet[Tenant] = super().get_queryset(request)
        people = Member.objects.filter(tenant=OuterRef("pk")).order_by().values("tenant").annotate(n=Count("pk"))
        return rows.annotate(member_count=Subquery(people.values("n")))

    @admin.display(description=gettext_lazy("State"), ordering="state")
    def shown_state(self, tenant: Tenant) -> str:
        known = TenantState(tenant.state)
        return state(SHAPES[known], known.label)

    @admin.display(description=gettext_lazy("Members"), ordering="member_count")
    def members(self, tenant: Any) -> int:
        return tenant.member_count or 0

    def notes(self, tenant: Tenant) -> Iterable[Note]:
        if tenant.state == TenantState.SUSPENDED:
            said = _("This tenant is suspended: it can be looked at, not changed.")
            kept = _("Its machines go on running.") if tenant.keeps_guests else ""
            yield Note("amber", said, f"{tenant.state_reason} {kept}".strip())
        elif tenant.state == TenantState.CLOSING:
            yield Note("amber", _("This tenant is being closed."), tenant.state_reason)
        elif not tenant.is_active:
            yield Note("amber", _("A tenant above it is suspended, and so are its people."), "")

    def links(self, tenant: Tenant) -> Iterable[tuple[str, Any, str]]:
        yield f"/t/{tenant.slug}/", _("As its people see it"), "device-desktop"
        yield f"{reverse('admin:tenants_auditentry_changelist')}?q={tenant.slug}", _("Audit log"), "file-text"
        yield f"{reverse('admin:operations_operation_changelist')}?q={tenant.slug}", _("Operations"), "activity"

    def panels(self, tenant: Tenant) -> Iterable[Panel]:
        if tenant.state == TenantState.CLOSING:
            left = tenant_left(tenant)
            yield Panel(
                _("Still to be removed: %d") % len(left),
                [_("Kind"), _("Name"), _("Waits for")],
                [(one.kind, one.name, one.why) for one in left[:LEFT_SHOWN]],
                _("Nothing is left."),
            )
        yield quota_panel(tenant)
        members = Member.objects.filter(tenant=tenant).select_related("user", "role").order_by("user__email")
        yield Panel(
            _("Members"),
            [_("Person"), _("Role")],
            [(labelled(member.user), member.role.name) for member in members[:50]],
            _("Nobody is in it yet."),
            f"{reverse('admin:tenants_member_changelist')}?q={tenant.slug}",
        )

    @deed(
        gettext_lazy("Create a tenant"),
        explain=gettext_lazy("Makes a tenant with this installation's default quota. Its first owner is added afterwards."),
        icon="plus", form=TenantForm, adds=True,
    )  # fmt: skip
    def create(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s is created.") % tenant_create(actor=actor, **answers)

    @deed(
        gettext_lazy("Add a member"),
        explain=gettext_lazy("Lets somebody who can sign in into the tenant; its first owner comes in this way."),
        icon="user-plus", form=MemberForm, foresee=lambda self, tenant, actor: Forecast(True, _("gets another member")),
    )  # fmt: skip
    def welcome(self, tenant: Tenant, actor: Actor, answers: dict[str, Any]) -> str:
        with tenant_scope(tenant):
            member_add(tenant, answers["email"], role=role_named(answers["role"]), actor=actor)
        return _("%(person)s is %(role)s of %(tenant)s.") % {
            "person": answers["email"], "role": answers["role"], "tenant": tenant,
        }  # fmt: skip

    @deed(
        gettext_lazy("Change quota"),
        explain=gettext_lazy("A limit below what is in use stops new things and never running ones."),
        icon="gauge", form=QuotaForm, foresee=lambda self, tenant, actor: Forecast(True, _("its limits change")),
    )  # fmt: skip
    def quota(self, tenant: Tenant, actor: Actor, answers: dict[str, Any]) -> str:
        return quota_change(tenant, answers, actor=actor)

    @deed(
        gettext_lazy("Suspend"),
        explain=gettext_lazy("Its people, and those of the tenants below it, may only look. Open consoles close at once."),
        icon="player-pause", form=SuspendForm, many=True, danger=True, foresee=_suspends,
    )  # fmt: skip
    def suspend(self, tenant: Tenant, actor: Actor, answers: dict[str, Any]) -> str:
        tenant_suspend(tenant, reason=answers["reason"], guests=answers["guests"] or STOP, actor=actor)
        return _("%s is suspended.") % tenant

    @deed(
        gettext_lazy("End suspension"),
        explain=gettext_lazy("Its people may work again. Machines that were stopped stay stopped until somebody starts them."),
        icon="player-play", form=ReasonForm, many=True, foresee=_revives,
    )  # fmt: skip
    def unsuspend(self, tenant: Tenant, actor: Actor, answers: dict[str, Any]) -> str:
        tenant_unsuspend(tenant, reason=answers["reason"], actor=actor)
        return _("%s is active again.") % tenant

    @deed(
        gettext_lazy("Close"),
        explain=gettext_lazy("Its machines are shut down. When the grace is over, everything in it is removed for good."),
        icon="trash", form=CloseForm, danger=True, foresee=_closes,
    )  # fmt: skip
    def close(self, tenant: Tenant, actor: Actor, answers: dict[str, Any]) -> str:
        tenant_close(tenant, confirm=answers["confirm"], reason=answers["reason"], actor=actor)
        return _("%s is being closed.") % tenant

    @deed(
        gettext_lazy("Reopen"),
        explain=gettext_lazy("Everything in it is still there; machines stay stopped until somebody starts them."),
        icon="arrow-back-up", form=ReasonForm, foresee=_reopens,
    )  # fmt: skip
    def reopen(self, tenant: Tenant, actor: Actor, answers: dict[str, Any]) -> str:
        tenant_reopen(tenant, reason=answers["reason"], actor=actor)
        return _("%s is active again.") % tenant
