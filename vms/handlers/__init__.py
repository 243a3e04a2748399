"""One function per kind of operation; imported by workers only, for what it registers."""

from vms.handlers import guests, hosts, images, networks, power, volumes

__all__ = ["guests", "hosts", "images", "networks", "power", "volumes"]
