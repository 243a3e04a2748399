"""A machine goes back to a backup, disk by disk, in its own place; every write, one transaction each."""

from vms.services.putback.ask import backup_put_back
from vms.services.putback.foresee import Becomes, Fate, Outlook, put_back_foresee

__all__ = ["Becomes", "Fate", "Outlook", "backup_put_back", "put_back_foresee"]
