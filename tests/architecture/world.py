"""One of everything that a route can name, and a body that fits each route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tenants.actors import system_actor
from tenants.models import AuditEntry, Member, Notice, NoticeKind, Role, User
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.invitations import invitation_send
from tenants.services.notices import notice_send
from tenants.services.quota import quota_request_make
from tenants.services.sign_in import sign_in_domain_create
from tenants.services.sign_in_providers import provider_create
from tenants.services.tokens import token_create
from tests import factories
from tests.architecture.permissions import Row
from tests.factories import House
from vms.models import BackupStore, Host, HostPool, StorageClass, StoragePool
from vms.models.readings import ReadingKind
from vms.services.discs import disc_lay
from vms.services.guests.inside import reading_record
from vms.services.keys import key_create
from vms.services.placement_groups import placement_group_create
from vms.services.power_schedules import schedule_create
from vms.services.security_groups import group_create

NOBODY = "nobody"
"""A role that allows nothing, so that anybody who may manage members may give it."""


SEEN = {
    ReadingKind.SCREEN: b"a picture",
    ReadingKind.LOG: b"login: ",
    ReadingKind.FACTS: b'{"hostname": "web", "os_name": "Tiny", "addresses": []}',
}
"""What was read of the world's machine."""

RESTORED = {"to": "guest", "name": "again"}
"""What is made of the world's backup."""


@dataclass(frozen=True, slots=True)
class World:
    """A tenant's house and the id of one thing of each kind in it, by the name of the path's parameter."""

    house: House
    ids: dict[str, str]
    host_pool: str
    storage_pool: str

    def token_of(self, person: User) -> str:
        """Make the token of the world one of ``person``; its text. Others' tokens are not there for who does not manage them."""
        actor = system_actor(self.house.tenant, why="test")
        with tenant_scope(self.house.tenant):
            token, raw = token_create(person, name="own", actor=actor, tenant=self.house.tenant)
        self.ids["token_id"] = str(token.pk)
        return raw

    @property
    def own(self) -> dict[str, str]:
        """The ids, where an image is not everybody's but one of the tenant's."""
        return {**self.ids, "image_id": self.ids["own_image_id"]}

    def path(self, route: str, ids: dict[str, str] | None = None) -> str:
        """``route`` with its braces filled."""
        pools = {
            "kind": "quota",
            "key": "debian-12",
            "period": "2026-03",
            "pool_id": self.host_pool if "host-pools" in route else self.storage_pool,
        }
        named = self.own if route.startswith("/tenants/") else self.ids
        question = next((each for end, each in QUESTIONS.items() if route.endswith(end)), "")
        return (route + question).format(**{"tenant": self.house.tenant.slug, **named, **pools, **(ids or {})})


QUESTIONS = {
    "/reachability": "?from=outside&to={guest_id}&port=22",
    "/placements": "?flavor={flavor_id}",
    "/billing/usage-records": "?tenant={tenant}",
    "/billing/usage-records.csv": "?tenant={tenant}",
    "/billing/verify": "?tenant={tenant}",
}
"""What is asked for at a route that answers nothing without."""


def build(slug: str = "") -> World:
    """A house with one of everything."""
    if not Host.objects.exists():
        factories.host_up()
    house = factories.tenant_with_owner(slug)
    guest, operation = factories.guest_building(house)
    network = factories.network(house)
    image, upload = factories.own_image(house), factories.upload(house)
    for tested in (image, guest.image):
        factories.image_test(tested)
    person = factories.user()
    announced = factories.announced_price(house.tenant.slug)
    with tenant_scope(house.tenant):
        role = Role.objects.create(tenant=house.tenant, name=NOBODY, permissions=[])
        member = Member.objects.create(tenant=house.tenant, user=person, role=role)
        key = key_create(house.tenant, name="key", public_key=factories.public_key(), actor=house.actor)
        token, _raw = token_create(house.owner, name="t", actor=house.actor, tenant=house.tenant)
        for kind, content in SEEN.items():
            reading_record(guest, kind, content)
        ids = {
            "guest_id": guest.pk,
            "operation_id": operation.pk,
            "image_id": guest.image_id,
            "own_image_id": image.pk,
            "upload_id": upload.pk,
            "flavor_id": guest.flavor_id,
            "list_id": announced.price_list_id,
            "price_id": announced.pk,
            "class_id": StorageClass.objects.get(is_default=True).pk,
            "network_id": network.pk,
            "port_id": guest.ports.get().pk,
            "group_id": group_create(house.tenant, name="web", actor=house.actor).pk,
            "placement_group_id": placement_group_create(
                house.tenant, name="spread", kind="apart", strict=True, actor=house.actor
            ).pk,
            "volume_id": factories.volume(house, "spare").pk,
            "backup_id": factories.backup(house, guest).pk,
            "backup_schedule_id": factories.backup_schedule(house, guest).pk,
            "snapshot_id": factories.snapshot(house).pk,
            "disk_export_id": factories.disk_export(house).pk,
            "key_id": key.pk,
            "disc_id": disc_lay(guest, factories.disc_image()).pk,
            "schedule_id": schedule_create(guest, action="start", cron="0 8 * * *", actor=house.actor).pk,
            "member_id": member.pk,
            "token_id": token.pk,
            "role_id": role.pk,
            "request_id": quota_request_make(house.tenant, {"guests": 99}, reason="More.", actor=house.actor).pk,
            "host_id": guest.host_id,
            "entry_id": AuditEntry.objects.all()[0].pk,
        }
    with every_tenant(why="test"):
        invitation = invitation_send(
            house.tenant, email=f"asked@{house.tenant.slug}.test", role=role, actor=house.actor
        )
        ids["invitation_id"] = invitation.pk
        app = provider_create(
            slug=f"idp-{house.tenant.slug}"[:40],
            name="Theirs",
            issuer="https://id.test",
            client_id="x",
            client_secret="y",
            actor=factories.desk(),
        )
        ids["provider_id"] = app.provider_id
        domain = f"{house.tenant.slug}.test"
        ids["domain_id"] = sign_in_domain_create(
            domain, tenant=house.tenant, app=app, role=role, actor=factories.desk()
        ).pk
        notice_send(house.tenant, [house.owner], NoticeKind.QUOTA, subject="Disk runs short")
        ids["notice_id"] = Notice.objects.get(user=house.owner, kind=NoticeKind.QUOTA).pk
        ids["fabric_id"] = factories.fabric(f"fabric-{house.tenant.slug}"[:40]).pk
        ids["store_id"] = BackupStore.objects.all()[0].pk
        pools = str(HostPool.objects.all()[0].pk), str(StoragePool.objects.all()[0].pk)
    return World(house, {name: str(pk) for name, pk in ids.items()}, *pools)


def body_for(world: World, row: Row) -> Any:
    """A body that the route's shape takes; None where it needs none."""
    last = row.route.rsplit("/", 1)[-1]
    if row.method == "POST":
        return RESTORED if "/backups/" in row.route and last == "restore" else _post_body(world, last)
    if row.method == "PUT":
        return {"rules": {"rules": []}, "security-groups": {"security_groups": ["web"]}}.get(last)
    if row.method != "PATCH":
        return None
    if row.route == "/host-pools/{pool_id}":
        return {"packs": True}
    return {
        "{guest_id}": {"name": "renamed"},
        "{tenant}": {"name": "Renamed"},
        "{domain_id}": {"role": "viewer"},
        "{provider_id}": {"name": "Renamed"},
        "{member_id}": {"role": NOBODY},
        "{role_id}": {"name": "renamed"},
        "{flavor_id}": {"sort": 5},
        "{class_id}": {"iops": 5},
        "{pool_id}": {"enabled": False},
        "{image_id}": {"deprecated": True},
        "{network_id}": {"description": "Renamed"},
        "{volume_id}": {"name": "renamed"},
        "{port_id}": {"ip": ""},
        "{group_id}": {"name": "renamed"},
        "{placement_group_id}": {"name": "renamed"},
        "{snapshot_id}": {"name": "renamed"},
        "{upload_id}": {},
        "{store_id}": {"enabled": True},
        "{fabric_id}": {"enabled": False},
        "{list_id}": {"is_default": True},
        "{schedule_id}": {"enabled": False},
        "{disc_id}": {"boot": "first"},
        "{backup_schedule_id}": {"enabled": False},
        "{host_id}": {"maintenance": True},
        "quota": {"guests": 7},
        "{kind}": {"in_portal": False},
    }[last]


def _post_body(world: World, last: str) -> Any:
    guest = {"name": "fresh", "flavor": world.ids["flavor_id"], "image": world.ids["image_id"]}
    return {
        "guests": guest,
        "resize": {"flavor": factories.flavor("larger", vcpus=2, memory_mib=512, disk_gib=2).name},
        "password": {"password": "correct horse"},
        "keys": {"ssh_keys": [factories.public_key()]},
        "rescue": {"image": world.ids["image_id"]},
        "lease": {"ends_at": "2028-01-01T00:00:00Z"},
        "discs": {"image": "installer"},
        "ports": {"network": world.ids["network_id"]},
        "power-schedules": {"action": "stop", "cron": "0 20 * * *"},
        "networks": {"name": "fresh"},
        "security-groups": {"name": "fresh"},
        "placement-groups": {"name": "fresh"},
        "volumes": {"name": "fresh", "size_gib": 1},
        "volume": {"name": "fresh"},
        "clone": {"name": "fresh"},
        "image": {"name": "fresh"},
        "backups": {"guest": world.ids["guest_id"]},
        "backup-schedules": {"name": "fresh", "guests": [world.ids["guest_id"]]},
        "backup-stores": {"name": "fresh", "kind": "folder", "location": "/srv/fresh"},
        "snapshots": {"name": "fresh", "volume": world.ids["volume_id"]},
        "disk-exports": {"snapshot": world.ids["snapshot_id"]},
        "attach": {"guest": world.ids["guest_id"]},
        "extend": {"size_gib": 2},
        "limits": {"iops": 100},
        "ssh-keys": {"name": "fresh", "public_key": factories.public_key()},
        "members": {"email": factories.user().email, "role": NOBODY},
        "invitations": {"email": "fresh@example.test", "role": NOBODY},
        "roles": {"name": "fresh"},
        "quota-requests": {"wanted": {"guests": 99}, "reason": "A sale."},
        "decline": {"answer": "Not now."},
        "tokens": {"name": "fresh"},
        "console": {"kind": "vnc"},
        "close": {"confirm": world.house.tenant.slug},
        "flavors": {"name": "fresh", "vcpus": 1, "memory_mib": 64, "disk_gib": 1},
        "storage-classes": {"name": "fresh"},
        "price-lists": {"name": "fresh", "currency": "EUR"},
        "prices": {"price_list": world.ids["list_id"], "meter": "vcpus", "amount": "0.004"},
        "storage-pools": {
            "host": world.ids["host_id"],
            "name": "fresh",
            "kind": "dir",
            "path": "/srv/fresh",
            "storage_class": world.ids["class_id"],
        },
        "tenants": {"slug": "fresh", "name": "Fresh"},
        "sign-in-providers": {
            "id": "fresh",
            "name": "Fresh",
            "issuer": "https://id.test",
            "client_id": "x",
            "client_secret": "y",
        },
        "sign-in-domains": {
            "domain": "fresh.test",
            "tenant": world.house.tenant.slug,
            "provider": world.ids["provider_id"],
        },
        "image-uploads": {"name": "fresh", "size": 1000},
        "images": {"name": "fresh", "url": "https://example.test/x", "sha256": "0" * 64},
        "hosts": {"uri": "fake:///fresh"},
        "host-pools": {"name": "fresh"},
        "fabrics": {"name": "fresh", **factories.FABRIC},
    }.get(last)
