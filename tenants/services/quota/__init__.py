"""How much a tenant may use: reserved, limited, asked for and verified here; nowhere else are these rows written."""

from tenants.services.quota.limits import LIMIT_MAX, quota_provide, quota_set
from tenants.services.quota.reckon import Line, hard_limit, soft_hard_at
from tenants.services.quota.requests import (
    TEXT_MAX,
    quota_request_approve,
    quota_request_decline,
    quota_request_make,
    quota_request_withdraw,
)
from tenants.services.quota.reserve import (
    quota_foresee,
    quota_lock,
    quota_rates,
    quota_release,
    quota_reserve,
    tenant_lineage,
)
from tenants.services.quota.resources import DISK_OF, RESOURCES, Kind, class_disk, is_resource, kind_of, resource_name
from tenants.services.quota.verify import Miscount, quota_verify, usage_source

__all__ = [
    "DISK_OF",
    "LIMIT_MAX",
    "RESOURCES",
    "TEXT_MAX",
    "Kind",
    "Line",
    "Miscount",
    "class_disk",
    "hard_limit",
    "is_resource",
    "kind_of",
    "quota_foresee",
    "quota_lock",
    "quota_provide",
    "quota_rates",
    "quota_release",
    "quota_request_approve",
    "quota_request_decline",
    "quota_request_make",
    "quota_request_withdraw",
    "quota_reserve",
    "quota_set",
    "quota_verify",
    "resource_name",
    "soft_hard_at",
    "tenant_lineage",
    "usage_source",
]
