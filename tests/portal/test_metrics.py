"""Who may read the installation's figures."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.services.tokens import Scope, token_create
from tests import factories

pytestmark = pytest.mark.django_db


def ask(token: str = "", *, address: str = "127.0.0.1") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return int(Client(REMOTE_ADDR=address).get("/metrics", headers=headers).status_code)


def test_figures_are_for_an_operators_token() -> None:
    _person, operators = factories.operator()

    assert ask(operators) == 200
    assert ask() == ask("gh_00000000_wrong") == ask(factories.tenant_with_owner().token) == 401


def test_a_token_bound_to_a_network_reads_figures_from_there() -> None:
    """It was refused from everywhere: a scraper could not be given a token for its own address only."""
    scope = Scope(permissions=["operate"], networks=["192.0.2.0/24"])
    _row, token = token_create(factories.user(operator=True), name="scraper", actor=factories.desk(), scope=scope)

    assert ask(token, address="192.0.2.7") == 200
    assert ask(token, address="198.51.100.7") == 401
