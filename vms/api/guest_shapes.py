"""What a guest looks like in JSON, going out and coming in."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, Field, StrictBool, StrictInt

from portal.core.bodies import Body, Listing
from portal.core.errors import FieldError
from vms.api.pick import pick, pick_all, pick_image, refuse
from vms.models import Flavor, Guest, Image, Network, PlacementGroup, SecurityGroup, SshKey, StorageClass
from vms.selectors.guests import AddressRow, GuestFilters, GuestRow
from vms.services.guests.resize import When
from vms.services.keys import TYPES, key_parse
from vms.specs import (
    DISK_MAX_GIB,
    MOST_ON_A_CARD,
    START_DELAY_MAX_S,
    START_ORDER_MAX,
    GuestSpec,
    StartOrder,
    VolumeSpec,
)
from vms.states import AfterCrash, GuestStatus, Power


class AddressOut(BaseModel):
    """An address of a guest, and the card that holds it."""

    network: str
    network_name: str
    mac: str
    ip: str
    kind: str


class GuestVolumeOut(BaseModel):
    """A disk of a guest."""

    id: str
    name: str
    size_gib: int
    state: str


class ProblemOut(BaseModel):
    """What went wrong last."""

    code: str
    message: str


class GuestOut(BaseModel):
    """A virtual machine. `status` is the one word to show; `power` is what was last seen, `wanted_power` what was asked."""

    id: str
    name: str
    status: GuestStatus
    power: Power
    wanted_power: Power
    flavor: str
    flavor_name: str
    next_flavor: str | None = Field(
        description="The size it takes when it is next off; null where it has the one it is to have."
    )
    vcpus: int
    memory_mib: int
    disk_gib: int
    image: str
    image_name: str
    host: str | None = Field(default=None, description="For operators only.")
    host_name: str | None = Field(default=None, description="For operators only.")
    addresses: list[AddressOut]
    volumes: list[GuestVolumeOut]
    tags: list[str]
    protected: bool
    start_order: int | None = Field(
        description="After a restart of its host those with a smaller number are started first, those without one last."
    )
    start_delay_s: int = Field(description="How long it runs then before those with a larger number follow.")
    after_crash: AfterCrash = Field(
        description="`restart`: one that crashes is started again, later each time, and left off after five times in an hour."
    )
    placement_group: str | None
    in_rescue: bool = Field(description="Does it start from a rescue disk, with its own beside it?")
    firmware: str
    secure_boot: bool
    tpm: bool
    ssh_keys: list[str] = Field(description="Fingerprints of the keys it was made with.")
    created_at: datetime
    power_since: datetime | None
    binned_at: datetime | None
    purge_after: datetime | None = Field(description="When a machine in the bin is removed for good.")
    lease_ends_at: datetime | None = Field(description="When it goes to the bin by itself; null is never.")
    operation: str | None = Field(description="The operation that is being carried out on it.")
    problem: ProblemOut | None


class GuestQuery(Listing):
    """Filters of guests."""

    q: str = Field(default="", max_length=100, description="Part of a name, a tag, or an address.")
    sort: str = Field(default="-created_at", max_length=40, description="`name`, `-name`, `created_at`, `-created_at`")
    status: list[GuestStatus] = Field(default=[], description="One or several; without it the bin is left out.")
    name: str = Field(default="", max_length=63)
    tag: str = Field(default="", max_length=32)
    flavor: str = Field(default="", max_length=40, description="Id or name.")
    image: str = Field(default="", max_length=100, description="Id or name.")
    network: str = Field(default="", max_length=40, description="Id or name.")

    def filters(self) -> GuestFilters:
        """The same for the selector."""
        return GuestFilters(
            q=self.q,
            name=self.name,
            status=tuple(self.status),
            tag=self.tag,
            flavor=self.flavor,
            image=self.image,
            network=self.network,
        )


class GuestVolumeIn(Body):
    """A further disk of a machine to be made; each of several machines gets its own."""

    name: str = Field(default="data", max_length=63)
    size_gib: StrictInt = Field(ge=1, le=DISK_MAX_GIB)
    storage_class: str = Field(default="", max_length=40, description="The default class where empty.")
    delete_with_guest: StrictBool = Field(default=False, description="Is it deleted when its machine is gone for good?")


class GuestIn(Body):
    """A machine to be made; things are named by id or name."""

    name: str = Field(max_length=63)
    flavor: str = Field(max_length=100)
    image: str = Field(max_length=100)
    security_groups: list[str] = Field(
        default=[], max_length=MOST_ON_A_CARD, description="What guards its ports; none: the project's default group."
    )
    networks: list[str] = Field(
        default=[],
        max_length=8,
        description="A card on each; the first one has the default route. None: the project's default network.",
    )
    ips: list[Annotated[str, Field(max_length=15)]] = Field(
        default=[],
        max_length=8,
        description="The cards' addresses, in the same order; an empty one comes out of the pool.",
    )
    ssh_keys: list[str] = Field(default=[], max_length=20, description="Ids or names of keys, or whole public keys.")
    user_data: str = Field(default="", max_length=65536, description="cloud-init user-data.")
    password: str = Field(default="", max_length=128, description="First password of the image's default user.")
    volumes: list[GuestVolumeIn] = Field(default=[], max_length=24, description="Further disks, empty ones.")
    tags: list[str] = Field(default=[], max_length=20)
    placement_group: str = Field(default="", max_length=40, description="By id or name: where it stands among others.")
    count: StrictInt = Field(default=1, ge=1, le=100, description="More than one makes name-1 … name-N.")
    start: StrictBool = True
    protected: StrictBool = False


class GuestPatch(Body):
    """What can be changed; what is left out stays."""

    name: str = Field(default="", max_length=63)
    tags: list[str] = Field(default=[], max_length=20)
    protected: StrictBool = False
    start_order: StrictInt | None = Field(default=None, ge=1, le=START_ORDER_MAX, description="null: after all others.")
    start_delay_s: StrictInt = Field(default=0, ge=0, le=START_DELAY_MAX_S)
    after_crash: AfterCrash = AfterCrash.RESTART
    placement_group: str | None = Field(
        default=None, max_length=40, description="By id or name; null: in none any more."
    )

    def changes(self, guest: Guest) -> dict[str, Any]:
        """For ``guest_edit``."""
        given = self.model_dump(exclude_unset=True)
        if {"start_order", "start_delay_s"} & given.keys():
            order = given.pop("start_order", guest.start_order)
            given["start"] = StartOrder(order, given.pop("start_delay_s", guest.start_delay_s))
        if given.get("placement_group"):
            errors: list[FieldError] = []
            rows = PlacementGroup.objects.all()
            given["placement_group"] = pick(rows, given["placement_group"], "/placement_group", errors)
            refuse(errors)
        elif "placement_group" in given:
            given["placement_group"] = None
        return given


class ShutdownIn(Body):
    """How long the machine may take to shut down by itself."""

    grace_s: StrictInt = Field(default=90, ge=1, le=600)


class ResizeIn(Body):
    """Another size, and when a running machine takes it: `live` (only upwards), with a `restart`, or at its next `power_off`."""

    flavor: str = Field(max_length=100, description="Id or name.")
    when: When = When.LIVE


class RebuildIn(Body):
    """The image to be made anew from; without one, the machine's own."""

    image: str = Field(default="", max_length=100, description="Id or name.")


class RescueIn(Body):
    """The image to start from."""

    image: str = Field(max_length=100, description="Id or name.")


class ConsoleIn(Body):
    """Which console: the screen (`vnc`) or the serial line (`serial`)."""

    kind: str = Field(default="vnc", max_length=10)


class ConsoleOut(BaseModel):
    """A WebSocket to be opened once, within 30 seconds, by a page of the portal."""

    url: str
    ticket: str
    expires_at: datetime
    kind: str


def guest_out(row: GuestRow, *, operator: bool = False) -> GuestOut:
    """A guest with its parts; asks the database nothing."""
    guest = row.guest
    facts: dict[str, Any] = {}
    if operator:
        facts["host"] = str(guest.host_id) if guest.host_id else None
        facts["host_name"] = guest.host.name if guest.host is not None else None
    return GuestOut(
        id=str(guest.pk),
        name=guest.name,
        status=row.status,
        power=Power(guest.seen_power),
        wanted_power=Power(guest.want_power),
        flavor=str(guest.flavor_id),
        flavor_name=row.flavor_name,
        next_flavor=str(guest.next_flavor_id) if guest.next_flavor_id else None,
        vcpus=guest.vcpus,
        memory_mib=guest.memory_mib,
        disk_gib=guest.disk_gib,
        image=str(guest.image_id),
        image_name=row.image_name,
        addresses=[_address(address) for address in row.addresses],
        volumes=[
            GuestVolumeOut(id=str(volume.pk), name=volume.name, size_gib=volume.size_gib, state=volume.state)
            for volume in row.volumes
        ],
        tags=row.tags,
        protected=guest.protected,
        start_order=guest.start_order,
        start_delay_s=guest.start_delay_s,
        after_crash=AfterCrash(guest.after_crash),
        placement_group=str(guest.placement_group_id) if guest.placement_group_id else None,
        in_rescue=guest.in_rescue,
        firmware=guest.firmware,
        secure_boot=guest.secure_boot,
        tpm=guest.tpm,
        ssh_keys=[_fingerprint(key) for key in guest.ssh_keys],
        created_at=guest.created_at,
        power_since=guest.seen_since,
        binned_at=guest.binned_at,
        purge_after=guest.purge_after,
        lease_ends_at=guest.lease_ends_at,
        operation=str(row.operation.pk) if row.operation is not None else None,
        problem=_problem(guest),
        **facts,
    )


@lru_cache(maxsize=4096)
def _fingerprint(key: str) -> str:
    """Of a key that was checked when the guest was made; one key is in many guests."""
    return key_parse(key)[1]


def _address(row: AddressRow) -> AddressOut:
    return AddressOut(network=str(row.network_id), network_name=row.network_name, mac=row.mac, ip=row.ip, kind=row.kind)


def _problem(guest: Guest) -> ProblemOut | None:
    if not guest.problem_code:
        return None
    return ProblemOut(code=guest.problem_code, message=guest.problem_message)


def flavor_named(text: str) -> Flavor:
    """A size that is offered, by id or name; raises ``Invalid``."""
    errors: list[FieldError] = []
    flavor = pick(Flavor.objects.filter(enabled=True), text, "/flavor", errors)
    refuse(errors)
    assert flavor is not None
    return flavor


def image_named(text: str) -> Image:
    """An image of the scope, by id or name; raises ``Invalid``."""
    errors: list[FieldError] = []
    image = pick_image(Image.objects.all(), text, "/image", errors)
    refuse(errors)
    assert image is not None
    return image


def guest_spec(body: GuestIn) -> GuestSpec:
    """The body with its words turned into rows of the scope; raises ``Invalid`` with every word that names nothing."""
    errors: list[FieldError] = []
    flavor = pick(Flavor.objects.filter(enabled=True), body.flavor, "/flavor", errors)
    image = pick_image(Image.objects.all(), body.image, "/image", errors)
    networks = pick_all(Network.objects.all(), body.networks, "/networks", errors)
    groups = pick_all(SecurityGroup.objects.all(), body.security_groups, "/security_groups", errors)
    inline = [key for key in body.ssh_keys if key.split(None, 1)[:1] and key.split(None, 1)[0] in TYPES]
    named = [key for key in body.ssh_keys if key not in inline]
    keys = pick_all(SshKey.objects.all(), named, "/ssh_keys", errors)
    placement_group = (
        pick(PlacementGroup.objects.all(), body.placement_group, "/placement_group", errors)
        if body.placement_group
        else None
    )
    volumes = tuple(_disk(disk, f"/volumes/{number}", errors) for number, disk in enumerate(body.volumes))
    refuse(errors)
    assert flavor is not None
    assert image is not None
    return GuestSpec(
        name=body.name,
        flavor=flavor,
        image=image,
        networks=networks,
        groups=groups,
        ips=tuple(body.ips),
        ssh_keys=keys,
        inline_keys=tuple(inline),
        user_data=body.user_data,
        password=body.password,
        volumes=volumes,
        tags=tuple(body.tags),
        placement_group=placement_group,
        count=body.count,
        start=body.start,
        protected=body.protected,
    )


def _disk(body: GuestVolumeIn, pointer: str, errors: list[FieldError]) -> VolumeSpec:
    """One further disk; a class that is none is added to ``errors``."""
    classes, wanted = StorageClass.objects.all(), body.storage_class
    storage_class = pick(classes, wanted, f"{pointer}/storage_class", errors) if wanted else None
    return VolumeSpec(
        name=body.name, size_gib=body.size_gib, storage_class=storage_class, delete_with_guest=body.delete_with_guest
    )
