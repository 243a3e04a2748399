from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests import factories
from tests.factories import House


@pytest.fixture(autouse=True)
def _plain_static_files(settings: Any) -> None:
    """Nothing has been collected for tests: names without hashes."""
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}


@pytest.fixture
def desk(db: None) -> Client:
    """An operator's browser."""
    client = Client()
    client.force_login(factories.user("operator@example.test", operator=True))
    return client


@pytest.fixture
def house(db: None) -> House:
    return factories.tenant_with_owner("harbour", limits={"guests": None, "vcpus": None, "memory_mib": None})


@pytest.fixture
def queries_of(desk: Client, django_assert_max_num_queries: object) -> Callable[[str], int]:
    """How many queries a page takes once it is warm."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def count(url: str) -> int:
        assert desk.get(url).status_code == 200
        with CaptureQueriesContext(connection) as caught:
            assert desk.get(url).status_code == 200
        return len(caught)

    return count
