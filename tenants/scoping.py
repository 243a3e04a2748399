"""Whose rows you see. Outside a scope, a tenant's rows cannot be read or written at all.

A scope is opened at the edge (middleware, runner, consumer) for one tenant, or, with a reason, for every tenant.
Services take tenant-owned objects, never their ids: a foreign key's validation uses the base manager, so an id of
another tenant would pass it. The edge fetches objects through the scoped manager.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.db import models

from portal.core.ids import uuid7

if TYPE_CHECKING:
    from tenants.models import Tenant

M = TypeVar("M", bound=models.Model)


class _Every:
    """The scope of code that must see all tenants."""

    def __repr__(self) -> str:
        return "EVERY_TENANT"


EVERY_TENANT: Final = _Every()
_scope: ContextVar[Tenant | _Every | None] = ContextVar("tenant_scope", default=None)


class UnscopedQuery(RuntimeError):
    """Tenant rows were touched outside a scope, or under another tenant's: a bug, never an answer."""


def current_scope() -> Tenant | _Every | None:
    """The open scope: a tenant, ``EVERY_TENANT`` or None."""
    return _scope.get()


@contextmanager
def tenant_scope(tenant: Tenant) -> Iterator[None]:
    """See and write the rows of ``tenant`` only."""
    mark = _scope.set(tenant)
    try:
        yield
    finally:
        _scope.reset(mark)


@contextmanager
def every_tenant(*, why: str) -> Iterator[None]:
    """See all tenants' rows; ``why`` is for the reader and for the test that lists these places."""
    if not why:
        raise ValueError("every_tenant needs a reason")
    mark = _scope.set(EVERY_TENANT)
    try:
        yield
    finally:
        _scope.reset(mark)


def _only[Row: models.Model](rows: models.QuerySet[Row], tenant: Tenant) -> models.QuerySet[Row]:
    """``rows.filter(tenant=tenant)`` of a fresh queryset, without the machinery that looks the column up anew.

    Related managers are made by the hundred when a list reads its parts, and each begins here: a third of a page's time.
    """
    column = rows.model._meta.get_field("tenant")
    here = column.get_col(rows.query.get_initial_alias())  # type: ignore[union-attr]
    rows.query.where.add(column.get_lookup("exact")(here, tenant.pk), models.Q.AND)  # type: ignore[misc]
    return rows


class TenantManager(models.Manager[M]):
    """The default manager of tenant-owned rows; narrows to the scope, raises without one."""

    def get_queryset(self) -> models.QuerySet[M]:
        scope = _scope.get()
        if scope is None:
            raise UnscopedQuery(f"{self.model.__name__} read outside a tenant scope")
        rows = super().get_queryset()
        return rows if isinstance(scope, _Every) else _only(rows, scope)


class SharedManager(models.Manager[M]):
    """For rows that are a tenant's own or, with tenant empty, everybody's."""

    def get_queryset(self) -> models.QuerySet[M]:
        scope = _scope.get()
        if scope is None:
            raise UnscopedQuery(f"{self.model.__name__} read outside a tenant scope")
        rows = super().get_queryset()
        if isinstance(scope, _Every):
            return rows
        return rows.filter(models.Q(tenant=scope) | models.Q(tenant=None))


class TenantOwned(models.Model):
    """A row that belongs to one tenant for ever."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey("tenants.Tenant", on_delete=models.PROTECT, related_name="+")

    objects = TenantManager()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save within the scope of the row's own tenant; raises ``UnscopedQuery`` otherwise."""
        check_scope(self)
        super().save(*args, **kwargs)


def check_scope(row: Any) -> None:
    """Raise ``UnscopedQuery`` unless ``row``'s tenant is the scope's, or the scope is every tenant's."""
    scope = _scope.get()
    if scope is None or (not isinstance(scope, _Every) and row.tenant_id != scope.pk):
        raise UnscopedQuery(f"{type(row).__name__} of tenant {row.tenant_id} written in scope {scope!r}")
