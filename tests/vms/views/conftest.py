"""A project with a host, and its owner's browser; a module that needs another kind of project has its own."""

from __future__ import annotations

import pytest
from django.test import Client

from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House


@pytest.fixture
def house(db: None) -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def client(house: House) -> Client:
    return browser(house.owner)
