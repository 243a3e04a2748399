"""Whose rows you see. Outside a scope, a tenant's rows cannot be read or written at all.

A scope is opened at the edge (middleware, runner, consumer) for one tenant, or, with a reason, for every tenant.
Services take tenant-owned objects, never their ids: a foreign key's validation uses the base manager, so an id of
another tenant would pass it. The edge fetches objects through the scoped manager.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from uuid import UUID

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


ABOVE_MOST: Final = 4
"""How many tenants stand above another, at most (``tenants.services.tenants.make.DEPTH_MAX``, less itself)."""


@lru_cache(maxsize=1024)
def _owned_by(
    rows: type[models.QuerySet[Any]], model: type[models.Model], tenant: UUID, shared: bool, lent: bool
) -> models.QuerySet[Any]:
    """The rows of ``tenant``, with everybody's where ``shared``, and those that tenants above it share where ``lent``.

    Never read itself: each use is a copy, by ``all()``.

    Related managers are made by the hundred when a list reads its parts, and each begins here. A copy costs a tenth of the
    filter (6 µs against 80), which would be a third of a page's time.
    """
    seen = models.Q(tenant=tenant)
    if shared:
        seen |= models.Q(tenant=None)
    if lent:
        seen |= models.Q(shared=True) & _above(model, tenant)
    return rows(model).filter(seen)


def _above(model: type[models.Model], tenant: UUID) -> models.Q:
    """Rows of those that ``tenant`` is a child of, up to the root: a look by primary key a step, in the same query."""
    tenants = model._meta.get_field("tenant").related_model
    assert isinstance(tenants, type)
    step = tenants._base_manager.filter(pk=tenant).values("parent")
    found = models.Q(tenant__in=step)
    for _height in range(1, ABOVE_MOST):
        step = tenants._base_manager.filter(pk__in=step).values("parent")
        found |= models.Q(tenant__in=step)
    return found


class TenantManager(models.Manager[M]):
    """The default manager of tenant-owned rows; narrows to the scope, raises without one."""

    shared: ClassVar[bool] = False
    lent: ClassVar[bool] = False

    def get_queryset(self) -> models.QuerySet[M]:
        scope = _scope.get()
        if scope is None:
            raise UnscopedQuery(f"{self.model.__name__} read outside a tenant scope")
        rows = super().get_queryset()
        if isinstance(scope, _Every):
            return rows
        own: models.QuerySet[M] = _owned_by(type(rows), self.model, scope.pk, self.shared, self.lent)
        return own.all() if self._db is None else own.using(self._db)


class SharedManager(TenantManager[M]):
    """For rows that are a tenant's own or, with tenant empty, everybody's."""

    shared = True


class LentManager(SharedManager[M]):
    """For rows that a tenant may share besides with those below it, by a column ``shared``: to be read there, not written."""

    lent = True


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
