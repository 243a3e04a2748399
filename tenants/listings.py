"""People, their tenants, and what the journal says, as lists read them."""

from __future__ import annotations

from typing import Any

from allauth.socialaccount.models import SocialApp
from django.db.models import Q, QuerySet

from portal.core.clock import now
from portal.core.paging import Sorts
from tenants.actors import Actor
from tenants.journal.models import AuditEntry, Event, InstallationEntry, Journal, UsageInterval
from tenants.models import (
    ApiToken,
    Invitation,
    Member,
    Notice,
    Quota,
    QuotaRequest,
    RequestState,
    Role,
    SignInDomain,
    Tenant,
    TenantState,
    User,
)
from tenants.policy import Permission
from tenants.prepared import Given, prepared
from tenants.scoping import every_tenant

TENANT_SORTS: Sorts = {"slug": ("slug",), "name": ("name", "id"), "created_at": ("created_at", "id")}
MEMBER_SORTS: Sorts = {"created_at": ("created_at", "id")}
INVITATION_SORTS: Sorts = {"created_at": ("created_at", "id")}
TOKEN_SORTS: Sorts = {"created_at": ("created_at", "id"), "name": ("name", "id")}
PROVIDER = "openid_connect"
PROVIDER_SORTS: Sorts = {"name": ("name", "id")}
SIGN_IN_DOMAIN_SORTS: Sorts = {"domain": ("domain",), "created_at": ("created_at", "id")}
NOTICE_SORTS: Sorts = {"created_at": ("created_at", "id")}
JOURNAL_SORTS: Sorts = {"seq": ("seq",)}
QUOTA_REQUEST_SORTS: Sorts = {"created_at": ("created_at", "id")}
USAGE_SORTS: Sorts = {"started_at": ("started_at", "id")}


def memberships_of(user: User, *, most: int | None = None) -> list[Member]:
    """The tenants a person belongs to, with the role there, by name, at most ``most`` of them; one query."""
    with every_tenant(why="a person's own memberships"):
        rows = Member.objects.filter(user=user).exclude(tenant__state=TenantState.CLOSED)
        return list(rows.select_related("tenant", "role").order_by("tenant__name", "pk")[:most])


def token_of(actor: Actor) -> ApiToken | None:
    """The token that ``actor`` came with."""
    if not actor.token_id:
        return None
    return ApiToken.objects.select_related("tenant").filter(pk=actor.token_id).first()


def tenants_all() -> QuerySet[Tenant]:
    """All tenants, for operators."""
    return Tenant.objects.select_related("parent")


def providers() -> QuerySet[Any]:
    """All single sign-on providers, for operators."""
    rows: QuerySet[Any] = SocialApp.objects.filter(provider=PROVIDER)
    return rows


def sign_in_domains() -> QuerySet[SignInDomain]:
    """All mail domains that join a tenant by single sign-on, for operators."""
    return SignInDomain.objects.select_related("tenant", "app", "role")


def members(tenant: Tenant) -> QuerySet[Member]:
    """Who belongs to a tenant."""
    return Member.objects.filter(tenant=tenant).select_related("user", "role")


def invitations(tenant: Tenant, *, state: str = "") -> QuerySet[Invitation]:
    """Who has been asked to join a tenant.

    ``state``: ``open``, ``expired``, ``accepted``, ``revoked``, ``declined``; ``unsettled`` is what whoever invites looks
    after: open, expired, and declined for as long as it would have been open.
    """
    rows = Invitation.objects.filter(tenant=tenant).select_related("role", "tenant", "invited_by", "accepted_by")
    if state == "accepted":
        rows = rows.exclude(accepted_at=None)
    elif state in ("revoked", "declined"):
        rows = rows.exclude(revoked_at=None).filter(declined=state == "declined")
    elif state == "unsettled":
        rows = rows.filter(Q(accepted_at=None, revoked_at=None) | Q(declined=True, expires_at__gt=now()))
    elif state:
        rows = rows.filter(accepted_at=None, revoked_at=None)
        rows = rows.filter(expires_at__gt=now()) if state == "open" else rows
        rows = rows.filter(expires_at__lte=now()) if state == "expired" else rows
    return rows.order_by("-created_at", "-pk")


def tokens(actor: Actor) -> QuerySet[ApiToken]:
    """The tokens that open the actor's tenant only, dead ones too: everybody's for who manages them, else their own."""
    rows = ApiToken.objects.filter(tenant=actor.tenant, tenant__isnull=False).select_related("user", "tenant", "role")
    if actor.may(Permission.TOKEN_MANAGE):
        return rows
    if actor.user is not None:
        return rows.filter(user=actor.user)
    return rows.filter(pk=actor.token_id) if actor.token_id else rows.none()


def quota_rows(tenant: Tenant) -> list[Quota]:
    """What a tenant uses and may use, one row a resource."""
    return list(Quota.objects.filter(tenant=tenant).order_by("resource"))


def installation_entries() -> QuerySet[InstallationEntry]:
    """Who changed what outside any tenant."""
    return InstallationEntry.objects.all()


def quota_requests() -> QuerySet[QuotaRequest]:
    """Wishes for a larger quota, of the scope's tenant or of all."""
    return QuotaRequest.objects.select_related("tenant", "asked_by")


def quota_requests_waiting() -> int:
    """How many wishes wait for an operator, up to 100; one query."""
    return QuotaRequest.objects.filter(state=RequestState.PENDING)[:100].count()


def audit_entries(tenant: Tenant) -> QuerySet[AuditEntry]:
    """Who changed what in a tenant."""
    return AuditEntry.objects.filter(tenant=tenant)


def events_after(tenant: Tenant, after: int, *, limit: int) -> tuple[list[Event], int, bool]:
    """The next events after a number, the newest number there is, and whether some between are no longer kept."""
    newest = Journal.objects.filter(tenant=tenant).values_list("event_seq", flat=True).first() or 0
    rows = Event.objects.filter(tenant=tenant).order_by("seq")
    oldest = rows.values_list("seq", flat=True).first()
    lost = after > newest or (after < newest and (oldest is None or after + 1 < oldest))
    return list(rows.filter(seq__gt=after)[:limit]), newest, lost


def usage_intervals(tenant: Tenant) -> QuerySet[UsageInterval]:
    """From when to when what was in use."""
    return UsageInterval.objects.filter(tenant=tenant)


def notices(user: User, *, unread: bool = False) -> QuerySet[Notice]:
    """What a person has been told; ``unread`` only what they have not read."""
    rows = Notice.objects.filter(user=user).select_related("tenant")
    return rows.filter(read_at=None) if unread else rows


def notices_unread(user: User) -> int:
    """How many notices wait to be read, up to 100; one query."""
    return len(_unread_rows(user=user.pk))


@prepared
def _unread_rows() -> QuerySet[Any, tuple[Any, ...]]:
    return Notice.objects.filter(user=Given("user", User._meta.pk), read_at=None).values_list("pk")[:100]


def roles() -> QuerySet[Role]:
    """The built-in roles and those of the scope's tenant."""
    return Role.objects.order_by("tenant_id", "name")
