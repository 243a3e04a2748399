"""The operators' pages of the product's nouns, one module per noun."""

from vms.admin import drift, flavors, guests, hosts, images, pools

__all__ = ["drift", "flavors", "guests", "hosts", "images", "pools"]
