"""The operators' pages of the product's nouns, one module per noun."""

from vms.admin import drift, flavors, guests, hosts, image_copies, images, pools, storage_classes

__all__ = ["drift", "flavors", "guests", "hosts", "image_copies", "images", "pools", "storage_classes"]
