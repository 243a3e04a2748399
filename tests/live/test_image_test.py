"""A test boot for real: its worker killed in the middle of it, then by another to the login prompt; nothing of it stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from operations.models import Operation
from tenants.scoping import every_tenant
from tests import factories
from tests.lab.waiting import wait_until
from tests.live.livebench import LiveBench, work
from tests.operations.kinds import lapse
from vms.models import ImageTest
from vms.names import image_test_name
from vms.selectors.installation import installation_owner
from vms.services.image_tests import image_test, image_tested

pytestmark = pytest.mark.django_db(transaction=True)
GONE_S = 120


def test_an_image_is_seen_to_reach_its_login_prompt(bench: LiveBench) -> None:
    with every_tenant(why="test"):
        operation = image_test(bench.image, actor=factories.desk())
    test = ImageTest.objects.get()
    name = image_test_name(installation_owner(), test.pk)

    def there() -> bool:
        return name in bench.lab_host.virsh("list", "--all", "--name").split()

    died = work(operation, die_at="image.try:boot:after", data=Path(settings.DATA_DIR))
    assert died.returncode == -9, died.stderr
    wait_until(lambda: not there(), timeout_s=GONE_S, what="the host to take the dead worker's machine away")
    lapse(operation)
    bench.settle()

    assert Operation.objects.get(pk=operation.pk).status == "succeeded"
    found = image_tested(bench.image)
    assert found is not None
    assert (found.verdict, found.host) == ("login", None)
    assert "test-boot login:" in found.log
    assert bytes(found.screen).startswith(b"\x89PNG")
    pool = bench.lab_host.pool_dir / "live" / "pool"
    left = [
        path.name for folder in (pool, bench.lab_host.run_dir) for path in folder.iterdir() if test.pk.hex in path.name
    ]
    assert (left, there(), bench.findings()) == ([], False, [])
