"""Every write of this room, one transaction each."""
