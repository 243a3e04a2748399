"""What people may do with guests; every write, one transaction each."""

from vms.services.guests.change import guest_edit
from vms.services.guests.create import guest_create, guest_fit
from vms.services.guests.inside import guest_add_keys, guest_look, guest_set_password
from vms.services.guests.observe import Observation, guest_record_observation, guests_mark_unknown
from vms.services.guests.power import guest_power
from vms.services.guests.rebuild import guest_rebuild
from vms.services.guests.remove import guest_delete, guest_restore
from vms.services.guests.rescue import guest_rescue, guest_unrescue
from vms.services.guests.resize import guest_resize

__all__ = [
    "Observation",
    "guest_add_keys",
    "guest_create",
    "guest_delete",
    "guest_edit",
    "guest_fit",
    "guest_look",
    "guest_power",
    "guest_rebuild",
    "guest_record_observation",
    "guest_rescue",
    "guest_resize",
    "guest_restore",
    "guest_set_password",
    "guest_unrescue",
    "guests_mark_unknown",
]
