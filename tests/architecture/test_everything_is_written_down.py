"""Whatever changes something, over REST or from a page, leaves an entry in an audit log.

Deeds of the operators' site: ``tests/portal/admin/test_written_down.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tenants.models import NoticeKind
from tenants.services.notices import notice_send
from tests import factories
from tests.architecture.pages import PAGES
from tests.architecture.permissions import TABLE
from tests.architecture.test_pages import browser, path
from tests.architecture.world import body_for, build
from tests.portal.api.rest import Rest

pytestmark = pytest.mark.django_db
CHANGES = ("POST", "PUT", "PATCH", "DELETE")
WRITE = re.compile(r'^(?:INSERT INTO|UPDATE|DELETE FROM) "(\w+)"')
LOGS = {"tenants_auditentry", "tenants_installationentry"}
NOT_THE_TENANTS = {
    "django_session": "who is signed in where",
    "usersessions_usersession": "who is signed in where",
    "tenants_apitoken": "when a token was last used; a change of the token itself writes more",
    "django_admin_log": "the operators' site's own log",
}
"""Tables in which a write alone needs no entry, and why."""
READ = "somebody has read what they were told"
LOOK = "only looks at the host; what it is done with stands in the list of operations"
SILENT_ROUTES = {
    "POST /me/notices/read": READ,
    "POST /hosts/{host_id}/test": LOOK,
    "POST /fabrics/{fabric_id}/test": LOOK,
}
GUEST = "POST /tenants/{tenant}/guests/{guest_id}/"
REFUSED_ROUTES = {
    "DELETE /images/{image_id}": "machines stand on it",
    "DELETE /storage-pools/{pool_id}": "it is the host's own directory",
    "PATCH /tenants/{tenant}/image-uploads/{upload_id}": "takes bytes alone",
    "DELETE /sign-in-providers/{provider_id}": "a domain signs in by it",
    "DELETE /tenants/{tenant}/roles/{role_id}": "a member has it",
    "DELETE /tenants/{tenant}/guests/{guest_id}": "still being built, as is its machine in all that follow",
    **dict.fromkeys(
        [
            GUEST + deed
            for deed in (
                "clone", "console", "console-log", "discs", "image", "keys", "password", "pause", "ports", "reboot", "rebuild",
                "reported", "rescue", "reset", "resize", "restore", "resume", "screenshot", "shutdown", "start", "stop",
                "suspend", "unrescue", "wake",
            )
        ],
        "still being built",
    ),
    "PATCH /tenants/{tenant}/guests/{guest_id}/discs/{disc_id}": "still being built",
    "DELETE /tenants/{tenant}/guests/{guest_id}/discs/{disc_id}": "still being built",
    "DELETE /tenants/{tenant}/guests/{guest_id}/ports/{port_id}": "still being built",
    "POST /tenants/{tenant}/backups": "its machine is still being built",
    "POST /tenants/{tenant}/volumes/{volume_id}/attach": "still being built",
    "POST /tenants/{tenant}/volumes/{volume_id}/detach": "it hangs on no machine",
    "POST /tenants/{tenant}/invitations/{invitation_id}/resend": "sent just now",
    "POST /tenants/{tenant}/members/{member_id}/transfer": "an operator owns nothing",
    "POST /tenants/{tenant}/reopen": "not closing",
    "PATCH /tenants/{tenant}/ports/{port_id}": "its machine is still being built",
    "PUT /tenants/{tenant}/ports/{port_id}/security-groups": "its machine is still being built",
    "POST /tenants/{tenant}/tokens/{token_id}/rotate": "its owner's alone",
}  # fmt: skip
"""What is refused in this world, so that its entry is not seen here, and why; tests of each deed look at it."""
YES = {"confirmed": "yes"}
IMAGE_FORM = {
    "os_family": "linux",
    "source_format": "qcow2",
    "kind": "disk",
    "firmware": "bios",
    "disk_bus": "virtio",
    "nic_model": "virtio",
    "init": "cloud-init",
    "default_user": "root",
    "min_memory_mib": "64",
    "least_disk_gib": "0",
}
NIGHTLY = {
    "name": "fresh",
    "tags": "web",
    "every": "daily",
    "hour": "1",
    "timezone": "UTC",
    "window_minutes": "60",
    "full_every": "0",
    "keep_last": "7",
    **dict.fromkeys(("keep_hourly", "keep_daily", "keep_weekly", "keep_monthly"), "0"),
}
FORMS: dict[str, dict[str, str]] = {
    "tenants:member_role": {"role": "viewer"},
    "tenants:member_remove": YES,
    "tenants:member_transfer": YES,
    "tenants:invitation_create": {"email": "fresh@example.test", "role": "viewer"},
    "tenants:role_create": {"name": "fresh", "guest.view": "all"},
    "tenants:role_edit": {"name": "fresh", "guest.view": "all"},
    "tenants:token_create": {"name": "fresh", "scope": "all", "expires": "30"},
    "tenants:token_revoke": YES,
    "tenants:quota_ask": {"guests": "99", "reason": "A sale."},
    "tenants:settings": {"name": "Renamed"},
    "tenants:close": {"confirm": "SLUG"},
    "vms:guest_rename": {"name": "renamed"},
    "vms:guest_tags": {"tags": "web"},
    "vms:guest_protect": {"protected": "true"},
    "vms:guest_start_order": {"start_order": "2", "start_delay_s": "30", "after_crash": "leave"},
    "vms:guest_placement": {"placement_group": "PLACEMENT"},
    "vms:placement_group_create": {"name": "fresh", "rule": "apart!"},
    "vms:placement_group_edit": {"name": "renamed"},
    "vms:guest_lease": {"ends_at": "2028-01-01"},
    "vms:guest_schedule_add": {"action": "stop", "cron": "0 20 * * *", "timezone": "UTC"},
    "vms:guest_schedule_change": {"deed": "off"},
    "vms:image_add": {"name": "fresh", "url": "https://example.test/x", "sha256": "0" * 64, **IMAGE_FORM},
    "vms:image_edit": {"name": "renamed", **IMAGE_FORM},
    "vms:image_offer": {"deprecated": "true"},
    "vms:image_share": {"shared": "true"},
    "vms:image_delete": YES,
    "vms:upload_create": {
        f"upload-{name}": word for name, word in {"name": "fresh", "size": "9", **IMAGE_FORM}.items()
    },
    "vms:network_create": {"name": "fresh", "outward": "nat"},
    "vms:group_create": {"name": "fresh"},
    "vms:group_edit": {"name": "renamed"},
    "vms:group_rule_add": {"direction": "in", "protocol": "tcp", "ports": "22", "peer": ""},
    "vms:group_delete": YES,
    "vms:port_attach": {"network": "NETWORK"},
    "vms:network_edit": {"name": "renamed"},
    "vms:network_redraw": {"outward": "nat", "mtu": "1400"},
    "vms:volume_create": {"name": "fresh", "size_gib": "1"},
    "vms:volume_edit": {"name": "renamed"},
    "vms:volume_extend": {"size_gib": "2"},
    "vms:volume_limits": {"iops": "5", "mbps": "0"},
    "vms:volume_delete": {"typed": "spare"},
    "vms:backup_restore_guest": {"name": "again", "flavor": "FLAVOR", "start": "on"},
    "vms:backup_restore_volume": {"name": "again", "position": "0"},
    "vms:backup_schedule_create": NIGHTLY,
    "vms:backup_schedule_edit": {**NIGHTLY, "name": "renamed"},
    "vms:volume_snapshot": {"name": "fresh"},
    "vms:snapshot_edit": {"name": "renamed"},
    "vms:snapshot_image": {"name": "again", "position": "0"},
    "vms:snapshot_volume": {"name": "again", "position": "0"},
    "vms:snapshot_export": {"position": "0"},
    "vms:disk_export_delete": YES,
    "vms:key_create": {"key-name": "fresh", "key-public_key": factories.public_key()},
}
"""What is sent from a page for it to do something; nothing, where a click is all."""
BUILT = "its machine is still being built"
LINK = "tests/tenants/test_invitations.py has the link of a letter"
IDLE_PAGES = {
    "tenants:visit": "for operators: tests/tenants/test_visits.py",
    "tenants:visit_end": "nobody visits",
    "tenants:invitation": LINK,
    "tenants:invitation_decline": LINK,
    "tenants:invitation_join": "asked is somebody else",
    "tenants:invitation_stay_out": "asked is somebody else",
    "tenants:invitation_resend": "sent just now",
    "tenants:second_factor": "the owner would be out: tests/tenants/accounts/test_second_factor.py",
    "tenants:reopen": "not closing",
    "vms:upload_piece": "takes bytes alone",
    "vms:guest_bulk": "no machine is ticked",
    "vms:guest_create": "tests/vms/views has the whole form",
    "vms:volume_recap": "says what a volume would cost of the quota",
    "vms:volume_extend_recap": "says what a larger one would cost of the quota",
    "vms:guest_recap": "says what a machine would cost of the quota",
    "vms:guest_power": BUILT,
    "vms:guest_delete": BUILT,
    "vms:guest_resize": BUILT,
    "vms:guest_rebuild": BUILT,
    "vms:guest_rescue": BUILT,
    "vms:guest_unrescue": BUILT,
    "vms:guest_look": BUILT,
    "vms:guest_snapshot": BUILT,
    "vms:guest_clone": BUILT,
    "vms:guest_export": BUILT,
    "vms:guest_image": BUILT,
    "vms:guest_password": BUILT,
    "vms:guest_keys": BUILT,
    "vms:guest_guard": BUILT,
    "vms:group_rule_drop": "the group has no rule: tests/vms/views/test_security_group_pages.py",
    "vms:disc_insert": BUILT,
    "vms:disc_eject": BUILT,
    "vms:port_attach": BUILT,
    "vms:port_detach": BUILT,
    "vms:port_readdress": BUILT,
    "vms:port_limit": BUILT,
    "vms:disc_boot": BUILT,
    "vms:guest_restore": BUILT,
    "vms:console_ticket": BUILT,
    "vms:backup_create": BUILT,
    "vms:backup_put_back": BUILT,
    "vms:volume_attach": BUILT,
    "vms:volume_detach": "it hangs on no machine",
}
"""What does nothing in this world, so that its entry is not seen here, and why; tests of each deed look at it."""
SILENT_PAGES = {"POST tenants:notice_open": READ, "POST tenants:notice_read_all": READ}
"""What changes rows and leaves no entry, and why."""


def tables_written(deed: Callable[[], Any]) -> tuple[set[str], Any]:
    """The tables that a deed wrote to, and its answer; of which nothing stays."""
    with transaction.atomic():
        with CaptureQueriesContext(connection) as queries:
            answer = deed()
        transaction.set_rollback(True)
    hits = [WRITE.match(query["sql"]) for query in queries.captured_queries]
    return {hit[1] for hit in hits if hit}, answer


def is_silent(written: set[str]) -> bool:
    """Was something changed that no entry tells of?"""
    return bool(written - set(NOT_THE_TENANTS)) and not written & LOGS


def test_every_change_over_rest_is_written_down(settings: Any) -> None:
    settings.API_RATE_PER_MINUTE = 100_000
    world = build()
    person, token = factories.operator()
    notice_send(None, [person], NoticeKind.VISIT, subject="So that there is something to read")
    silent, refused = {}, set()

    for row in TABLE:
        if row.method in CHANGES:
            body = body_for(world, row)  # outside: it makes somebody new, which is written down
            written, answer = tables_written(
                lambda row=row, body=body: Rest(token).ask(row.method, world.path(row.route), body)
            )
            if answer.status >= 400:
                refused.add(f"{row.method} {row.route}")
            elif is_silent(written):
                silent[f"{row.method} {row.route}"] = written

    assert set(silent) == set(SILENT_ROUTES)
    assert refused == set(REFUSED_ROUTES)


def test_every_change_from_a_page_is_written_down() -> None:
    world = build()
    client = browser(world.house.owner)
    silent, idle = {}, set()

    for row in PAGES:
        if row.method in CHANGES:
            words = {"SLUG": world.house.tenant.slug}
            words |= {"FLAVOR": world.ids["flavor_id"], "NETWORK": world.ids["network_id"]}
            words["PLACEMENT"] = world.ids["placement_group_id"]
            form = {name: words.get(value, value) for name, value in FORMS.get(row.name, {}).items()}
            written, _answer = tables_written(lambda row=row, form=form: client.post(path(row, world), form))
            if not written - set(NOT_THE_TENANTS):
                idle.add(row.name)
            elif is_silent(written):
                silent[f"{row.method} {row.name}"] = written

    assert set(silent) == set(SILENT_PAGES)
    assert idle == set(IDLE_PAGES)
