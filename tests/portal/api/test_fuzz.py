"""Whatever schemathesis makes of the document, nothing answers with a 5xx or in a shape the document does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from portal.api import api
from portal.wsgi import application
from tests import factories
from tests.architecture.permissions import TABLE, Row
from tests.architecture.world import World, build

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 8


@pytest.fixture
def world(db: None, settings: Any) -> World:
    settings.API_RATE_PER_MINUTE = settings.API_TENANT_RATE_PER_MINUTE = 1_000_000
    return build()


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """A WSGI request would close the connection that the test's transaction is on."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def document() -> Any:
    schema = schemathesis.openapi.from_dict(api.document)
    schema.app = application
    return schema


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.route}")
def test_no_input_breaks_a_route(world: World, document: Any, row: Row) -> None:
    """As the owner on a tenant's routes, as an operator elsewhere; ids are made up or, half the time, real."""
    _person, operator = factories.operator()
    token = world.house.token if row.route.startswith("/tenants/{tenant}") else operator
    operation = document[f"/api/v1{row.route}"][row.method]
    everything = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @given(case=everything, real=st.booleans())
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: Any, real: bool) -> None:
        case.headers = {**dict(case.headers or {}), "Authorization": f"Bearer {token}"}
        names = dict(case.path_parameters or {})
        if "tenant" in names:
            names["tenant"] = world.house.tenant.slug
        if real:
            names |= {name: world.ids[name] for name in names if name in world.ids}
        case.path_parameters = names
        with transaction.atomic():
            response = case.call()
            transaction.set_rollback(True)
        case.validate_response(response, checks=CHECKS)

    ask()
