"""A tenant's life: made, renamed, suspended, taken up again, closed; its end is in ``tenants.services.ending``."""

from tenants.services.tenants.make import tenant_create, tenant_rename
from tenants.services.tenants.standing import (
    tenant_close,
    tenant_reopen,
    tenant_suspend,
    tenant_unsuspend,
    tenants_down,
)

__all__ = [
    "tenant_close",
    "tenant_create",
    "tenant_rename",
    "tenant_reopen",
    "tenant_suspend",
    "tenant_unsuspend",
    "tenants_down",
]
