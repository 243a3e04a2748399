"""Whatever schemathesis makes of the document, nothing answers with a 5xx or in a shape the document does not know: to nobody."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from portal.api import api
from portal.wsgi import application
from tests.architecture.permissions import TABLE, Row
from tests.architecture.personas import LIVING, persona
from tests.architecture.world import World, build

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CAST = tuple(name for name in LIVING if name != "suspended")
"""All in one tenant, which must be active for that."""
EXAMPLES = len(CAST) - 1
LONG_EXAMPLES = 40
NOUNS: dict[str, list[Row]] = {}
"""Routes by what they are about: one world is enough for each."""


def noun(row: Row) -> str:
    """The first word of a route, below its tenant if it is in one."""
    parts = row.route.removeprefix("/tenants/{tenant}").split("/")
    return parts[1] if len(parts) > 1 else "tenants"


for each in TABLE:
    NOUNS.setdefault(noun(each), []).append(each)


@dataclass(frozen=True, slots=True)
class Stage:
    """A world, everybody's token by their persona's name, and the document."""

    world: World
    tokens: dict[str, str]
    document: Any


@pytest.fixture(scope="module")
def document() -> Any:
    schema = schemathesis.openapi.from_dict(api.document)
    schema.app = application
    return schema


@pytest.fixture
def stage(db: None, settings: Any, document: Any) -> Iterator[Stage]:
    """A WSGI request would close the connection that the test's transaction is on."""
    settings.API_RATE_PER_MINUTE = settings.API_TENANT_RATE_PER_MINUTE = 10_000_000
    world = build()
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield Stage(world, {name: persona(name, world).token for name in CAST}, document)
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.parametrize("about", NOUNS)
def test_no_input_breaks_a_route(stage: Stage, about: str) -> None:
    """Each input as whoever may most there, and as one of the others, in turn."""
    for row in NOUNS[about]:
        most = "owner" if row.route.startswith("/tenants/{tenant}") else "operator"
        others = itertools.cycle(name for name in CAST if name != most)
        fuzz(stage, row, lambda most=most, others=others: [most, next(others)], examples=EXAMPLES)


@pytest.mark.long
@pytest.mark.parametrize("name", CAST)
@pytest.mark.parametrize("about", NOUNS)
def test_no_input_breaks_a_route_for_anybody(stage: Stage, about: str, name: str) -> None:
    for row in NOUNS[about]:
        fuzz(stage, row, lambda: [name], examples=LONG_EXAMPLES)


def fuzz(stage: Stage, row: Row, askers: Callable[[], list[str]], *, examples: int) -> None:
    """Send what the document allows and what it does not; ids are made up or, half the time, real."""
    operation = stage.document[f"/api/v1{row.route}"][row.method]
    everything = operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @given(case=everything, real=st.booleans())
    @bounds(
        max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: Any, real: bool) -> None:
        names = dict(case.path_parameters or {})
        if "tenant" in names:
            names["tenant"] = stage.world.house.tenant.slug
        if real:
            names |= {name: stage.world.ids[name] for name in names if name in stage.world.ids}
        case.path_parameters = names
        given_headers = dict(case.headers or {})
        for name in askers():
            case.headers = {**given_headers, "Authorization": f"Bearer {stage.tokens[name]}"}
            with transaction.atomic():
                response = case.call()
                transaction.set_rollback(True)
            case.validate_response(response, checks=CHECKS)

    ask()
