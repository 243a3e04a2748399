"""Tenants, people, roles, tokens and quotas."""

from __future__ import annotations

from tenants.journal.counters import UsageCount
from tenants.journal.models import (
    AuditEntry,
    Event,
    InstallationEntry,
    InstallationJournal,
    Journal,
    UsageInterval,
)
from tenants.models.answers import IdempotentAnswer
from tenants.models.failures import FailedSignIn
from tenants.models.notices import Letter, Notice, NoticeChoice, NoticeKind
from tenants.models.people import User, UserManager
from tenants.models.quotas import Quota, QuotaHold, QuotaRequest, RateUse, RequestState
from tenants.models.roles import Invitation, Member, Role
from tenants.models.tenants import SLUG, SignInDomain, SignInJoin, Tenant, TenantState
from tenants.models.tokens import ApiToken
from tenants.models.visits import Visit

__all__ = [
    "SLUG",
    "ApiToken",
    "AuditEntry",
    "Event",
    "FailedSignIn",
    "IdempotentAnswer",
    "InstallationEntry",
    "InstallationJournal",
    "Invitation",
    "Journal",
    "Letter",
    "Member",
    "Notice",
    "NoticeChoice",
    "NoticeKind",
    "Quota",
    "QuotaHold",
    "QuotaRequest",
    "RateUse",
    "RequestState",
    "Role",
    "SignInDomain",
    "SignInJoin",
    "Tenant",
    "TenantState",
    "UsageCount",
    "UsageInterval",
    "User",
    "UserManager",
    "Visit",
]
