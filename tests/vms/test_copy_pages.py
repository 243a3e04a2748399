"""The dialogs that ask for copies, outside of any transaction, as a browser opens them."""

from __future__ import annotations

import pytest
from django.urls import reverse

from tests import factories
from tests.architecture.test_pages import browser
from tests.vms.api.test_snapshots import machine
from vms.states import Power


@pytest.mark.django_db(transaction=True)
def test_every_dialog_opens_with_what_the_copy_takes() -> None:
    factories.host_up()
    house = factories.tenant_with_owner()
    guest = machine(house, Power.STOPPED)
    snapshot = factories.snapshot(house, "kept", of=guest)
    client = browser(house.owner)

    for name, subject in (
        ("snapshot_copy", snapshot),
        ("snapshot_volume", snapshot),
        ("snapshot_image", snapshot),
        ("guest_image", guest),
        ("guest_clone", guest),
    ):
        answer = client.get(reverse(f"vms:{name}", args=[house.tenant.slug, subject.pk]))
        assert answer.status_code == 200, name
