"""How much a tenant may use: reserved, limited and verified here; nowhere else are these rows written."""

from tenants.services.quota.limits import quota_provide, quota_set
from tenants.services.quota.reckon import Line, hard_limit
from tenants.services.quota.reserve import quota_foresee, quota_lock, quota_release, quota_reserve, tenant_lineage
from tenants.services.quota.resources import DISK_OF, RESOURCES, Kind, class_disk, is_resource, kind_of, resource_name
from tenants.services.quota.verify import Miscount, quota_verify, usage_source

__all__ = [
    "DISK_OF",
    "RESOURCES",
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
    "quota_release",
    "quota_reserve",
    "quota_set",
    "quota_verify",
    "resource_name",
    "tenant_lineage",
    "usage_source",
]
