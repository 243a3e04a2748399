"""Single sign-on: the providers, and whose people come by which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from allauth.socialaccount.models import SocialApp
from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.admin_base import ServiceAdmin
from portal.admin_deeds import DeedForm, Forecast, deed
from portal.admin_shown import Note, Panel, column, labelled, moment, mono, state, yes_no
from tenants.accounts.discovery import provider_look
from tenants.actors import Actor
from tenants.listings import providers
from tenants.models import Role, SignInDomain, Tenant
from tenants.policy import BUILT_IN_ROLES
from tenants.scoping import tenant_scope
from tenants.services.roles import role_named
from tenants.services.sign_in import sign_in_domain_create, sign_in_domain_delete, sign_in_domain_edit
from tenants.services.sign_in_providers import (
    callback_of,
    is_open,
    is_private,
    provider_create,
    provider_delete,
    provider_edit,
    provider_switch,
    vouches_for_everybody,
)


class SecretField(forms.CharField):
    """A secret that can be written and is never shown again."""

    def __init__(self, **options: Any) -> None:
        widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"})
        super().__init__(max_length=1000, widget=widget, strip=True, **options)


class PrivateField(forms.BooleanField):
    """May we look for it in our own networks?"""

    def __init__(self) -> None:
        super().__init__(
            label=gettext_lazy("In a network of ours"), required=False,
            help_text=gettext_lazy("Otherwise the portal goes to public addresses only."),
        )  # fmt: skip


class NewProviderForm(DeedForm):
    """A provider and whom it vouches for."""

    slug = forms.CharField(
        label=gettext_lazy("Id"), max_length=40,
        help_text=gettext_lazy("Stands in addresses and never changes: small letters, digits and hyphens."),
    )  # fmt: skip
    name = forms.CharField(
        label=gettext_lazy("Name"), max_length=40, help_text=gettext_lazy("Stands on the button of the sign-in page.")
    )
    issuer = forms.CharField(
        label=gettext_lazy("Address"), max_length=500, widget=forms.URLInput,
        help_text=gettext_lazy("Its issuer, below which /.well-known/openid-configuration lies. It is asked at once."),
    )  # fmt: skip
    client_id = forms.CharField(label=gettext_lazy("Client id"), max_length=191)
    client_secret = SecretField(
        label=gettext_lazy("Client secret"), help_text=gettext_lazy("It is kept sealed and never shown again.")
    )
    everybody = forms.BooleanField(
        label=gettext_lazy("Vouches for everybody"), required=False,
        help_text=gettext_lazy("The installation's own: also for operators. Others vouch for their mail domains alone."),
    )  # fmt: skip
    private = PrivateField()

    def refuse(self, error: Any) -> None:
        """The service knows the id as ``id``."""
        for wrong in error.errors:
            if wrong.pointer == "/id":
                self.add_error("slug", wrong.message)
                return
        super().refuse(error)


class ProviderForm(DeedForm):
    """What may change of a provider."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=40)
    client_id = forms.CharField(label=gettext_lazy("Client id"), max_length=191)
    client_secret = SecretField(
        label=gettext_lazy("Client secret"), required=False, help_text=gettext_lazy("Empty: the present one stays.")
    )
    private = PrivateField()

    def __init__(self, *args: Any, row: SocialApp | None = None, **kwargs: Any) -> None:
        super().__init__(*args, row=row, **kwargs)
        if row is not None:
            self.initial = {"name": row.name, "client_id": row.client_id, "private": is_private(row)}


def _switches_off(self: Any, app: SocialApp, actor: Actor) -> Forecast:
    if not is_open(app):
        return Forecast(False, _("is off already"))
    return Forecast(True, _("vouches for nobody; whoever came by it is signed out"))


def _switches_on(self: Any, app: SocialApp, actor: Actor) -> Forecast:
    if is_open(app):
        return Forecast(False, _("is on already"))
    return Forecast(True, _("vouches for its people again"))


def _is_removed(self: Any, app: SocialApp, actor: Actor) -> Forecast:
    if SignInDomain.objects.filter(app=app).exists():
        return Forecast(False, _("is where mail domains sign in; remove those first"))
    return Forecast(True, _("goes; whoever came by it is signed out and keeps the account"))


def _vouches(app: SocialApp) -> str:
    return _("everybody") if vouches_for_everybody(app) else _("its mail domains")


@admin.register(SocialApp)
class ProviderAdmin(ServiceAdmin):
    """OpenID Connect providers; their secrets are not here."""

    plural = gettext_lazy("Sign-in providers")
    lede = gettext_lazy("Where people may sign in instead of with a password here, by OpenID Connect.")
    list_display = ("name", "provider_id", "issuer", "vouches", "shown_state")
    search_fields = ("name", "provider_id")
    ordering = ("name",)
    fieldsets = (
        (None, {"fields": ("shown_state", "provider_id", "issuer", "private", "vouches")}),
        (gettext_lazy("For the provider"), {"fields": ("client_id", "callback")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return providers()

    @admin.display(description=gettext_lazy("State"))
    def shown_state(self, app: SocialApp) -> str:
        return state("running", _("On")) if is_open(app) else state("stopped", _("Off"))

    @admin.display(description=gettext_lazy("Address"))
    def issuer(self, app: SocialApp) -> str:
        return mono(app.settings.get("server_url", ""))

    @admin.display(description=gettext_lazy("Vouches for"))
    def vouches(self, app: SocialApp) -> str:
        return _vouches(app)

    @admin.display(description=gettext_lazy("In a network of ours"))
    def private(self, app: SocialApp) -> str:
        return yes_no(is_private(app))

    @admin.display(description=gettext_lazy("Sends people back to"))
    def callback(self, app: SocialApp) -> str:
        return mono(callback_of(app))

    def notes(self, app: SocialApp) -> Iterable[Note]:
        if not is_open(app):
            yield Note("amber", _("This provider is switched off: nobody signs in there."))
        elif not vouches_for_everybody(app) and not SignInDomain.objects.filter(app=app).exists():
            yield Note("blue", _("No mail domain names it yet, so that it vouches for nobody."))

    def panels(self, app: SocialApp) -> Iterable[Panel]:
        rows = SignInDomain.objects.filter(app=app).select_related("tenant", "role").order_by("domain")
        yield Panel(
            _("Mail domains"),
            [_("Domain"), _("Tenant"), _("Role")],
            [(labelled(row), labelled(row.tenant), row.role.name) for row in rows],
            _("None."),
        )

    @deed(
        gettext_lazy("Add a provider"),
        explain=gettext_lazy("Asks the provider for its description first. Which mail domains come by it is said afterwards."),
        icon="plus", form=NewProviderForm, adds=True,
    )  # fmt: skip
    def create(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        provider_look(answers["issuer"], private=answers["private"], actor=actor)
        app = provider_create(actor=actor, **answers)
        said = _("%(name)s is added. Tell the provider to send people back to %(address)s.")
        return said % {"name": app.name, "address": callback_of(app)}

    @deed(
        gettext_lazy("Change"),
        explain=gettext_lazy("Its address stays: for another address add another provider."),
        icon="pencil", form=ProviderForm, foresee=lambda self, app, actor: Forecast(True, _("is changed")),
    )  # fmt: skip
    def edit(self, app: SocialApp, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s is changed.") % str(provider_edit(app, actor=actor, **answers).name)

    @deed(
        gettext_lazy("Ask whether it is there"),
        explain=gettext_lazy("Reads the provider's description now; nothing changes."),
        icon="refresh", foresee=lambda self, app, actor: Forecast(True, _("is asked for its description")),
    )  # fmt: skip
    def look(self, app: SocialApp, actor: Actor, answers: dict[str, Any]) -> str:
        provider_look(app.settings["server_url"], private=is_private(app), actor=actor)
        return _("%s answers as it should.") % str(app.name)

    @deed(
        gettext_lazy("Switch off"),
        explain=gettext_lazy("Nobody signs in there any more, and whoever did is signed out. It can be switched on again."),
        icon="player-pause", danger=True, foresee=_switches_off,
    )  # fmt: skip
    def switch_off(self, app: SocialApp, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s is off.") % str(provider_switch(app, on=False, actor=actor).name)

    @deed(
        gettext_lazy("Switch on"),
        explain=gettext_lazy("It vouches again for those it vouched for before."),
        icon="player-play", foresee=_switches_on,
    )  # fmt: skip
    def switch_on(self, app: SocialApp, actor: Actor, answers: dict[str, Any]) -> str:
        return _("%s is on.") % str(provider_switch(app, on=True, actor=actor).name)

    @deed(
        gettext_lazy("Remove"),
        explain=gettext_lazy("Forgets the provider and who came by it; people keep their accounts and set a password."),
        icon="trash", danger=True, foresee=_is_removed,
    )  # fmt: skip
    def remove(self, app: SocialApp, actor: Actor, answers: dict[str, Any]) -> str:
        name = str(app.name)
        provider_delete(app, actor=actor)
        return _("%s is removed.") % name


class NewDomainForm(DeedForm):
    """A domain, whose it is, and by which provider its people come."""

    domain = forms.CharField(
        label=gettext_lazy("Mail domain"), max_length=253,
        help_text=gettext_lazy("You vouch that it is the tenant's own: everybody with an address in it may come in."),
    )  # fmt: skip
    tenant = forms.CharField(label=gettext_lazy("Tenant's short name"), max_length=40)
    provider = forms.ChoiceField(label=gettext_lazy("Provider"))
    role = forms.CharField(
        label=gettext_lazy("Role of those who come"), max_length=40, initial="member",
        help_text=gettext_lazy("A built-in one, or one of the tenant's own."),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["provider"].choices = [(app.provider_id, app.name) for app in providers().order_by("name")]  # type: ignore[attr-defined]

    def clean_tenant(self) -> Tenant:
        """The tenant."""
        tenant = Tenant.objects.filter(slug=self.cleaned_data["tenant"].strip().lower()).first()
        if tenant is None:
            raise forms.ValidationError(_("There is no such tenant."))
        return tenant


class DomainRoleForm(DeedForm):
    """What those become who come from now on."""

    role = forms.ChoiceField(label=gettext_lazy("Role of those who come"))

    def __init__(self, *args: Any, row: SignInDomain | None = None, **kwargs: Any) -> None:
        super().__init__(*args, row=row, **kwargs)
        if row is None:
            return
        own = Role.objects.filter(tenant=row.tenant).order_by("name").values_list("name", flat=True)
        self.fields["role"].choices = [(name, name) for name in (*BUILT_IN_ROLES, *own)]  # type: ignore[attr-defined]
        self.initial = {"role": row.role.name}


@admin.register(SignInDomain)
class SignInDomainAdmin(ServiceAdmin):
    """Whose people come by which provider."""

    plural = gettext_lazy("Mail domains")
    lede = gettext_lazy("Whose people come in by single sign-on, into which tenant. Only operators say so.")
    list_display = ("domain", "tenant", "app", "role", "made")
    list_select_related = ("tenant", "app", "role")
    search_fields = ("domain", "tenant__slug", "tenant__name")
    ordering = ("domain",)
    fieldsets = ((None, {"fields": ("domain", "shown_tenant", "shown_provider", "role", "made")}),)

    made = moment("created_at", gettext_lazy("Since"), "date")
    shown_tenant = column("tenant", gettext_lazy("Tenant"), labelled)
    shown_provider = column("app", gettext_lazy("Provider"), labelled)

    @deed(
        gettext_lazy("Let a domain in"),
        explain=gettext_lazy("Whoever the provider says has a verified address in the domain becomes a member of the tenant."),
        icon="plus", form=NewDomainForm, adds=True,
    )  # fmt: skip
    def create(self, row: None, actor: Actor, answers: dict[str, Any]) -> str:
        tenant, app = answers["tenant"], providers().get(provider_id=answers["provider"])
        with tenant_scope(tenant):
            role = role_named(answers["role"])
        domain = sign_in_domain_create(answers["domain"], tenant=tenant, app=app, role=role, actor=actor)
        return _("The people of %(domain)s come into %(tenant)s.") % {"domain": domain, "tenant": tenant}

    @deed(
        gettext_lazy("Change the role"),
        explain=gettext_lazy("For those who come from now on; members keep theirs."),
        icon="pencil", form=DomainRoleForm, foresee=lambda self, row, actor: Forecast(True, _("gives another role")),
    )  # fmt: skip
    def edit(self, row: SignInDomain, actor: Actor, answers: dict[str, Any]) -> str:
        with tenant_scope(row.tenant):
            role = role_named(answers["role"])
        sign_in_domain_edit(row, role=role, actor=actor)
        return _("Whoever comes from %(domain)s becomes %(role)s.") % {"domain": row, "role": role}

    @deed(
        gettext_lazy("Let it in no more"),
        explain=gettext_lazy("Nobody comes by this domain any more; members stay members."),
        icon="trash", danger=True, foresee=lambda self, row, actor: Forecast(True, _("opens nothing any more")),
    )  # fmt: skip
    def remove(self, row: SignInDomain, actor: Actor, answers: dict[str, Any]) -> str:
        sign_in_domain_delete(row, actor=actor)
        return _("Nobody comes by %s any more.") % row
