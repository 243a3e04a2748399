"""Backups behind an S3 address, with the real tool and a service that speaks it: as in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from operations.models import Operation
from operations.runner import run
from tests.support.s3 import own_s3
from tests.vms.reconcile.backup_lives import Backups
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.test_backups import content_of
from vms.backups import restic
from vms.reconcile.stores import repository_place

pytestmark = pytest.mark.django_db


@pytest.fixture
def backups(bench: Bench, tmp_path: Path) -> Iterator[Backups]:
    with own_s3() as address:
        yield Backups(bench, tmp_path, s3=f"{address}/guesthouse")


def test_a_machine_is_backed_up_verified_restored_and_let_go_of(backups: Backups) -> None:
    guest = backups.bench.guest()
    first, second = backups.backup(guest, b"one"), backups.backup(guest, b"two")
    assert (first.changed_only, second.changed_only) == (False, True)
    assert (content_of(first), content_of(second)) == (b"one", b"two")
    assert run(backups.deed(second, "verify").pk) == "succeeded"

    made = backups.deed(first, "restore_volume", name="old-root")
    assert run(made.pk) == "succeeded", Operation.objects.get(pk=made.pk).error_detail

    assert run(backups.deed(first, "delete").pk) == "succeeded"
    assert [each[:8] for each in restic.snapshots(repository_place(second.repository))] == [second.snapshot]
    assert content_of(second) == b"two"
    assert backups.bench.findings() == []
    assert run(backups.deed(second, "delete").pk) == "succeeded"
    assert backups.quota() == 0
    assert backups.bench.findings() == []


def test_a_service_that_is_gone_fails_the_backup_and_says_no_key(bench: Bench, tmp_path: Path) -> None:
    with own_s3() as address:
        backups = Backups(bench, tmp_path, s3=f"{address}/guesthouse")
        guest = bench.guest()
        backups.backup(guest, b"one")

    _backup, operation = backups.ask(guest)

    assert run(operation.pk) == "failed"
    operation.refresh_from_db()
    assert operation.error_code
    assert "hunter2" not in f"{operation.error_detail} {operation.error_message}"
    assert backups.is_closed(guest)
