"""One function per kind of operation; imported by workers only, for what it registers."""

from vms.handlers import guests, hosts, images, inside, networks, power, rebuild, resize

__all__ = ["guests", "hosts", "images", "inside", "networks", "power", "rebuild", "resize"]
