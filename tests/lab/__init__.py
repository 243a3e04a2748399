"""Several libvirt hosts on one machine, each in namespaces of its own; nothing here is part of the product."""
