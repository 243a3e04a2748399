"""The kinds of operations: what they are called, how long they may take, and how they settle."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from operations.registry import Kind, declare
from vms.services import (
    discs,
    fabrics,
    guarding,
    hosts,
    image_arrival,
    image_copies,
    image_tests,
    images,
    limiting,
    networks,
    pools,
    ports,
    readdress,
    security_groups,
)
from vms.services.guests import inside, settle

POWER_DEADLINE_S = 300

declare(Kind("guest.batch", _("Create %(name)s"), deadline_s=2 * 86400, group=True))
declare(Kind("guest.create", _("Create %(name)s"), settle=settle.created, deadline_s=900, cancellable=True))
declare(Kind("guest.clone", _("Clone into %(name)s"), settle=settle.created, cancellable=True, long=True))
declare(Kind("guest.start", _("Start %(name)s"), settle=settle.powered, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.shutdown", _("Shut down %(name)s"), settle=settle.powered, deadline_s=900, cancellable=True))
declare(Kind("guest.stop", _("Stop %(name)s"), settle=settle.powered, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.reboot", _("Reboot %(name)s"), settle=settle.powered, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.reset", _("Reset %(name)s"), settle=settle.powered, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.pause", _("Pause %(name)s"), settle=settle.powered, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.resume", _("Resume %(name)s"), settle=settle.powered, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.suspend", _("Suspend %(name)s"), settle=settle.powered, deadline_s=900))
declare(Kind("guest.wake", _("Wake %(name)s"), settle=settle.powered, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.resize", _("Resize %(name)s"), settle=settle.resized, deadline_s=900))
declare(Kind("guest.rebuild", _("Rebuild %(name)s"), settle=settle.rebuilt, deadline_s=900))
declare(Kind("guest.rescue", _("Rescue %(name)s"), settle=settle.rescued, deadline_s=900))
declare(Kind("guest.unrescue", _("End the rescue of %(name)s"), settle=settle.rescued, deadline_s=900))
declare(Kind("guest.tidy", _("Remove what is left over of %(name)s"), settle=settle.withdrawn, deadline_s=7 * 86400))
declare(Kind("guest.insert", _("Insert a CD into %(name)s"), settle=discs.inserted, deadline_s=900))
declare(Kind("guest.eject", _("Eject a CD of %(name)s"), settle=discs.ejected, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.attach_port", _("Attach a card to %(name)s"), settle=ports.port_settle_attach, deadline_s=300))
declare(
    Kind("guest.detach_port", _("Detach a card of %(name)s"), settle=ports.port_settle_detach, deadline_s=7 * 86400)
)
declare(
    Kind(
        "guest.readdress",
        _("Change an address of %(name)s"),
        settle=readdress.port_settle_readdress,
        deadline_s=7 * 86400,
    )
)
declare(Kind("guest.limit_port", _("Limit a card of %(name)s"), settle=limiting.port_settle_limit, deadline_s=900))
declare(Kind("guest.password", _("Set a password in %(name)s"), settle=inside.inside_settled, deadline_s=120))
declare(Kind("guest.keys", _("Add keys to %(name)s"), settle=inside.inside_settled, deadline_s=120))
declare(Kind("guest.look", _("Look at %(name)s"), settle=inside.inside_settled, deadline_s=60))
declare(Kind("guest.delete", _("Delete %(name)s"), settle=settle.deleted, deadline_s=900))
declare(Kind("guest.restore", _("Restore %(name)s"), settle=settle.restored, deadline_s=POWER_DEADLINE_S))
declare(Kind("guest.withdraw", _("Take %(name)s off its host"), settle=settle.withdrawn, deadline_s=7 * 86400))
declare(Kind("guest.purge", _("Remove %(name)s for good"), settle=settle.purged, deadline_s=7 * 86400))
declare(Kind("network.change", _("Change network %(name)s"), settle=networks.network_settle_change, deadline_s=120))
declare(Kind("network.delete", _("Delete network %(name)s"), settle=networks.network_settle_delete, deadline_s=900))
declare(Kind("guest.guard", _("Guard %(name)s"), settle=guarding.guarded, deadline_s=900))
declare(Kind("group.apply", _("Change the rules of %(name)s"), settle=security_groups.applied, deadline_s=900))
declare(
    Kind("group.follow", _("Bring the rules of %(name)s up to date"), settle=security_groups.followed, deadline_s=900)
)
declare(Kind("pool.prepare", _("Prepare pool %(name)s"), settle=pools.pool_settle_prepare, deadline_s=300))
declare(Kind("pool.forget", _("Give up pool %(name)s"), settle=pools.pool_settle_forget, deadline_s=300))
declare(Kind("host.clear", _("Clear %(name)s of a removed machine"), deadline_s=900))
declare(Kind("fabric.probe", _("Test fabric %(name)s"), settle=fabrics.fabric_settle_probe, deadline_s=300))
declare(Kind("host.probe", _("Test host %(name)s"), settle=hosts.host_settle_probe, deadline_s=300))
for way in ("image.import", "image.fetch", "image.receive"):
    settle_arrival = image_arrival.image_settle_arrival
    declare(Kind(way, _("Import image %(name)s"), settle=settle_arrival, cancellable=True, long=True))
declare(Kind("image.capture", _("Make image %(name)s"), settle=settle_arrival, cancellable=True, long=True))
declare(Kind("image.delete", _("Delete image %(name)s"), settle=images.image_settle_delete, deadline_s=7 * 86400))
declare(Kind("image.evict", _("Take %(name)s off its host"), settle=image_copies.copy_settle_evict, deadline_s=900))
for trial in ("image.try", "image.test"):
    settle_test = image_tests.image_settle_test
    declare(Kind(trial, _("Test boot of %(name)s"), settle=settle_test, cancellable=True, long=True))
declare(Kind("image.tidy", _("Remove what a test boot of %(name)s left"), deadline_s=7 * 86400))
