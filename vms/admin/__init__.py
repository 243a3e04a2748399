"""The operators' pages of the product's nouns, one module per noun."""

from vms.admin import (
    address_uses,
    backup_stores,
    drift,
    fabrics,
    flavors,
    guests,
    host_pools,
    hosts,
    image_copies,
    images,
    pools,
    storage_classes,
)

__all__ = [
    "address_uses",
    "backup_stores",
    "drift",
    "fabrics",
    "flavors",
    "guests",
    "host_pools",
    "hosts",
    "image_copies",
    "images",
    "pools",
    "storage_classes",
]
