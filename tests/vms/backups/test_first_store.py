"""A fresh installation can back up at once: beside the portal, until an operator names a better place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from vms.models import BackupStore

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("folder", "stores"), [("data", 1), ("a place with spaces", 0)])
def test_the_first_run_names_a_place_once(folder: str, stores: int, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / folder
    first_run = tmp_path / "first-run.json"

    for _again in range(2):
        call_command("seed", first_run=first_run)

    assert json.loads(first_run.read_text())["tenant"]["slug"] == "demo"
    found = list(BackupStore.objects.values_list("kind", "location", "enabled"))
    assert found == [("folder", f"{tmp_path}/data/backups", True)][:stores]


def test_without_a_first_run_there_is_none() -> None:
    call_command("seed")

    assert not BackupStore.objects.exists()
