"""Rows for tests, through services where one exists."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings

from billing.models import Price, PriceList
from operations.models import Operation
from operations.services import Failure, operation_claim, operation_fail, operation_finish
from portal.core.clock import now
from tenants.access import actor_for_user
from tenants.actors import Actor, system_actor
from tenants.models import Letter, Notice, NoticeKind, Role, Tenant, User
from tenants.policy import TAGGABLE, Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.members import member_add
from tenants.services.people import user_create
from tenants.services.roles import role_named
from tenants.services.tenants import tenant_create
from tenants.services.tokens import token_create
from vms.models import (
    Backup,
    BackupDisk,
    BackupRepository,
    BackupSchedule,
    BackupStore,
    DiskExport,
    Fabric,
    Flavor,
    Guest,
    Host,
    Image,
    ImageTest,
    ImageUpload,
    Installation,
    MetricPoint,
    Network,
    Snapshot,
    Volume,
)
from vms.models.image_tests import Verdict
from vms.models.snapshots import Consistency
from vms.services.backups import backup_create, backup_schedule_create, store_write
from vms.services.backups.schedules import ScheduleSpec
from vms.services.disk_exports import disk_export_create, disk_export_record
from vms.services.fabrics import fabric_write
from vms.services.flavors import flavor_write
from vms.services.guests import Observation, guest_create, guest_delete, guest_record_observation
from vms.services.hosts import host_enrol, host_record_facts, host_record_heartbeat, host_record_probe
from vms.services.image_arrival import image_register
from vms.services.image_tests import image_test_record
from vms.services.image_uploads import upload_create
from vms.services.images import image_charge, image_import, image_record_file
from vms.services.networks import network_create
from vms.services.snapshots import snapshot_create
from vms.services.snapshots.record import snapshot_record_taken
from vms.services.volumes import volume_create, volume_record
from vms.specs import GuestSpec, ImageSpec, NetworkWish, VolumeSpec
from vms.states import TRAITS, BackupState, ImageKind, Power, VolumeState

PASSWORD = "correct horse battery"
WORKER = "factory"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class House:
    """A tenant with its owner and the owner's token (for whatever the owner may)."""

    tenant: Tenant
    owner: User
    token: str

    @property
    def actor(self) -> Actor:
        """The owner, acting in the tenant."""
        return actor_in(self.tenant, self.owner)

    @property
    def url(self) -> str:
        """Where its REST resources lie."""
        return f"/api/v1/tenants/{self.tenant.slug}"


def desk(why: str = "test") -> Actor:
    """The portal itself."""
    return system_actor(None, why=why)


def actor_in(tenant: Tenant, user: User) -> Actor:
    """What ``user`` may do in ``tenant``."""
    actor = actor_for_user(user, tenant, via="test")
    assert actor is not None
    return actor


def user(email: str = "", *, operator: bool = False) -> User:
    """A person who can sign in with ``PASSWORD``."""
    return user_create(
        email=email or f"person-{next(_numbers)}@example.test", password=PASSWORD, operator=operator, actor=desk()
    )


def token_of(person: User) -> str:
    """A token for whatever ``person`` may; they have read what they were told of it."""
    _row, token = token_create(person, name="test", actor=desk())
    Notice.objects.filter(user=person, kind=NoticeKind.SECURITY).delete()
    Letter.objects.filter(to=person.email).delete()
    return token


def operator() -> tuple[User, str]:
    """Somebody who runs the installation, and their token."""
    person = user(operator=True)
    token = token_of(person)
    return person, token


def tenant_with_owner(slug: str = "", limits: dict[str, int | None] | None = None) -> House:
    """A tenant, its owner, and a token of the owner."""
    slug = slug or f"tenant-{next(_numbers)}"
    owner = user(f"owner-{next(_numbers)}@{slug}.test")
    tenant = tenant_create(slug=slug, name=slug.title(), actor=desk(), limits=limits)
    join(tenant, owner, role="owner")
    token = token_of(owner)
    return House(tenant, owner, token)


def join(tenant: Tenant, person: User, *, role: str) -> None:
    """Make ``person`` a member with a built-in role."""
    with tenant_scope(tenant):
        member_add(tenant, person, role=role_named(role), actor=system_actor(tenant, why="test"))


def member_with(tenant: Tenant, permissions: Iterable[Permission], *, tags: Sequence[str] = ()) -> tuple[User, str]:
    """A member whose role is exactly ``permissions``, and a token of theirs.

    What acts on machines holds, where there are ``tags``, on those that wear one of them.
    """
    person = user()
    narrow = {p for p in permissions if tags and p in TAGGABLE}
    with tenant_scope(tenant):
        role = Role.objects.create(
            tenant=tenant,
            name=f"role-{next(_numbers)}",
            permissions=sorted(p.value for p in set(permissions) - narrow),
            tagged=sorted(p.value for p in narrow),
            tags=list(tags),
        )
        member_add(tenant, person, role=role, actor=system_actor(tenant, why="test"))
    token = token_of(person)
    return person, token


def installation() -> Installation:
    """The row that says who this portal is."""
    return Installation.objects.get_or_create(pk=settings.INSTALLATION_ID)[0]


FABRIC = {"northbound": "ssl:192.0.2.1:6641", "southbound": "ssl:192.0.2.1:6642", "pki": "/srv/fabric"}


def fabric(name: str = "woven") -> Fabric:
    """A fabric that is written down, and whose test has not been done."""
    with every_tenant(why="test"):
        row, operation = fabric_write(None, name=name, actor=desk(), **FABRIC)
        operation_done(operation)
    return row


def host_up(name: str = "", *, cpus: int = 64, memory_mib: int = 512 * 1024) -> Host:
    """A host that has been tested and heard just now."""
    installation()
    number = next(_numbers)
    with every_tenant(why="test"):
        host, operation = host_enrol(
            uri=f"fake:///host-{number}",
            name=name or f"host-{number}",
            data_dir=f"/var/lib/guesthouse/{number}",
            run_dir=f"/run/guesthouse/{number}",
            actor=desk(),
        )
        operation_done(operation)
    host_record_facts(host, facts={}, cpus=cpus, memory_mib=memory_mib)
    host_record_probe(host, accelerated=False, traits=TRAITS, unenforced=(), notes=())
    host_record_heartbeat(host)
    host.refresh_from_db()
    return host


def announced_price(name: str) -> Price:
    """A price that has not begun, on a list of its own that is not the default."""
    row, _new = PriceList.objects.get_or_create(name=f"list-{name}"[:40], currency="EUR")
    return Price.objects.create(
        price_list=row, meter="vcpus", amount=Decimal("0.004"), valid_from=now() + timedelta(days=30)
    )


def flavor(name: str = "", **fields: Any) -> Flavor:
    """A size; small unless said otherwise."""
    known = Flavor.objects.filter(name=name).first()
    if known is not None:
        return known
    sizes = {"vcpus": 1, "memory_mib": 256, "disk_gib": 1, **fields}
    return flavor_write(None, name=name or f"flavor-{next(_numbers)}", actor=desk(), **sizes)


def image(name: str = "", **fields: Any) -> Image:
    """A public image that machines can be made of."""
    facts = {
        "os_family": "linux",
        "os_version": "1",
        "size": 1000,
        "virtual_size": 1024**3,
        "sha256": "0" * 64,
        **fields,
    }
    with every_tenant(why="test"):
        return image_register(name=name or f"image-{next(_numbers)}", actor=desk(), **facts)


def image_built(name: str, **built: Any) -> Image:
    """A public image whose machines are built so (``Hardware``)."""
    row = image(name)
    with every_tenant(why="test"):
        Image.objects.filter(pk=row.pk).update(**built)
        return Image.objects.get(pk=row.pk)


def disc_image() -> Image:
    """The public image of a CD; made once."""
    with every_tenant(why="test"):
        known = Image.objects.filter(name="installer").first() or image("installer", sha256="c" * 64)
        known.kind = ImageKind.ISO
        known.save(update_fields=["kind"])
        return known


def own_image(house: House, name: str = "") -> Image:
    """A tenant's own image, of one GiB, ready."""
    with tenant_scope(house.tenant):
        spec = ImageSpec(name or f"own-{next(_numbers)}")
        address = {"url": "https://example.test/own", "sha256": "0" * 64}
        row, operation = image_import(spec, **address, actor=house.actor, tenant=house.tenant)
        image_charge(row, 1024**3)
        image_record_file(row, size=1024**3, virtual_size=1024**3, sha256="1" * 64)
        operation_done(operation)
        row.refresh_from_db()
        return row


def image_test(image: Image, *, verdict: Verdict = Verdict.LOGIN) -> ImageTest:
    """A test boot of an image that has ended, with a picture."""
    with every_tenant(why="test"):
        test = ImageTest.objects.create(image=image, memory_mib=256, disk_gib=1)
        image_test_record(test, verdict=verdict, log="test-boot login: ", screen=b"a picture")
        return test


def upload(house: House, *, size: int = 1000) -> ImageUpload:
    """An image that a tenant is about to upload."""
    with tenant_scope(house.tenant):
        return upload_create(house.tenant, ImageSpec(f"own-{next(_numbers)}"), size=size, actor=house.actor)


def network(house: House, name: str = "") -> Network:
    """A private network of a tenant."""
    with tenant_scope(house.tenant):
        return network_create(house.tenant, NetworkWish(name=name or f"net-{next(_numbers)}"), actor=house.actor)


def guest_building(house: House, name: str = "", *, tags: Sequence[str] = (), **wish: Any) -> tuple[Guest, Operation]:
    """A guest just asked for, and its operation; needs a host in state UP, and makes one where there is none."""
    if not Host.objects.exists():
        host_up()
    with tenant_scope(house.tenant):
        spec = GuestSpec(
            name=name or f"guest-{next(_numbers)}",
            flavor=wish.pop("flavor", None) or flavor("small"),
            image=wish.pop("image", None) or image(),
            tags=tuple(tags),
            **wish,
        )
        operation = guest_create(house.tenant, spec, actor=house.actor)
        return Guest.objects.get(pk=operation.subject_id), operation


def guest(
    house: House, name: str = "", *, power: Power = Power.RUNNING, tags: Sequence[str] = (), **wish: Any
) -> Guest:
    """A built guest that was seen in ``power``."""
    row, operation = guest_building(house, name, tags=tags, start=power != Power.STOPPED, **wish)
    with tenant_scope(house.tenant):
        operation_done(operation)
        guest_seen(row, power)
        row.refresh_from_db()
        return row


def guest_seen(row: Guest, power: Power) -> None:
    """The host reports ``power``."""
    display = {"vnc": "/run/x.vnc", "serial": "/run/x.tty"}
    guest_record_observation(
        row.pk, Observation(power, generation=row.want_generation, display=display, at=now()), host=row.host
    )


def guest_binned(house: House, name: str = "") -> Guest:
    """A guest in the bin."""
    row = guest(house, name, power=Power.STOPPED)
    with tenant_scope(house.tenant):
        operation_done(guest_delete(row, actor=house.actor))
        row.refresh_from_db()
        return row


def metric_point(row: Guest, *, minute: int | None = None, **amounts: int) -> MetricPoint:
    """What a machine used in a whole minute, not written yet: ``amounts`` say what, else nothing; the present one if unnamed."""
    at = int(now().timestamp()) // 60 if minute is None else minute
    facts = {"seen_ms": 60_000, "cpu_ms": 0, "vcpu_ms": 60_000 * row.vcpus, **amounts}
    return MetricPoint(tenant_id=row.tenant_id, guest_id=row.pk, minutes=1, minute=at, **facts)


def operation_done(operation: Operation) -> None:
    """A worker takes the operation and says that it succeeded."""
    taken = operation_claim(operation.pk, worker=WORKER)
    assert taken is not None
    assert operation_finish(taken, worker=WORKER)


def operation_broken(operation: Operation, code: str = "storage_full") -> None:
    """The operation fails."""
    assert operation_fail(operation, Failure(code, "It did not work.", "Try again.", "the host said no"))


def volume(house: House, name: str = "", *, size_gib: int = 1) -> Volume:
    """A volume that is there, on no machine."""
    with tenant_scope(house.tenant):
        spec = VolumeSpec(name=name or f"volume-{next(_numbers)}", size_gib=size_gib)
        operation = volume_create(house.tenant, spec, actor=house.actor)
        row = Volume.objects.get(pk=operation.subject_id)
        volume_record(row, VolumeState.READY)
        operation_done(operation)
        return row


def backup_store() -> BackupStore:
    """A place for backups; what it names is never touched by whoever only looks."""
    found = BackupStore.objects.first()
    return found or store_write(None, actor=desk(), name="store", kind="folder", location="/nonexistent/backups")


def backup_asked(house: House) -> Operation:
    """A backup of a machine that runs is asked for."""
    backup_store()
    row = guest(house)
    with tenant_scope(house.tenant):
        return backup_create(row, actor=house.actor)


def backup(house: House, guest: Guest, name: str = "") -> Backup:
    """A backup of a machine that is ready, as its row says."""
    store = backup_store()
    with tenant_scope(house.tenant):
        repository, _made = BackupRepository.objects.get_or_create(
            tenant=house.tenant, defaults={"store": store, "password": "sealed"}
        )
        row = Backup.objects.create(
            tenant=house.tenant, name=name or f"b{next(_numbers)}", repository=repository, guest=guest,
            guest_name=guest.name, flavor=guest.flavor, image=guest.image, state=BackupState.READY, snapshot="00000000",
        )  # fmt: skip
        BackupDisk.objects.create(tenant=house.tenant, backup=row, position=0, name="root", size_gib=1)
    return row


def backup_schedule(house: House, guest: Guest, name: str = "nightly") -> BackupSchedule:
    """Backups of a machine every night."""
    with tenant_scope(house.tenant):
        spec = ScheduleSpec(name=name, guests=(guest,))
        return backup_schedule_create(house.tenant, spec, actor=house.actor)


def snapshot(house: House, name: str = "", *, of: Guest | Volume | None = None) -> Snapshot:
    """A snapshot that is there: of a volume of its own, where nothing is named."""
    whole = of or volume(house)
    with tenant_scope(house.tenant):
        operation = snapshot_create(whole, name=name or f"snapshot-{next(_numbers)}", actor=house.actor)
        row = Snapshot.objects.get(pk=operation.subject_id)
        snapshot_record_taken(row, Consistency.OFF)
        operation_done(operation)
        row.refresh_from_db()
        return row


def disk_export(house: House, of: Guest | Volume | Snapshot | None = None) -> DiskExport:
    """An exported disk that is ready, as its row says: of a snapshot of a volume, where nothing is named."""
    source = of or snapshot(house)
    with tenant_scope(house.tenant):
        operation = disk_export_create(source, actor=house.actor)
        row = DiskExport.objects.get(pk=operation.subject_id)
        disk_export_record(row, size=1000, sha256="2" * 64)
        operation_done(operation)
        row.refresh_from_db()
        return row


def public_key(comment: str = "") -> str:
    """A fresh, well-formed ed25519 public key."""
    kind = b"ssh-ed25519"
    point = next(_numbers).to_bytes(32, "little")
    blob = len(kind).to_bytes(4) + kind + len(point).to_bytes(4) + point
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}".strip()
