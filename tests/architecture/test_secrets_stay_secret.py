"""Secrets are compared without telling how much of them was right, kept as hashes or sealed, and in no answer; nor is what
belongs to others or to operators."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.urls import reverse

from portal.core.clock import now
from tenants.models import ApiToken, Letter, Role
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.sign_in_providers import provider_create
from tenants.services.tokens import token_create, token_rotate
from tests import factories
from tests.architecture.alike import told
from tests.architecture.pages import PAGES
from tests.architecture.permissions import TABLE
from tests.architecture.sources import modules
from tests.architecture.test_pages import BACKEND, browser, in_tenant, path
from tests.architecture.world import World, build
from tests.factories import PASSWORD
from tests.portal.admin.rows import one_of_each
from tests.portal.api.rest import Rest
from tests.support.reading import words_in
from vms.models import Host, StoragePool

SECRET_NAME = re.compile(r"(?:\A|_)(?:token|raw|secret|password|digest|ticket|signature|hash|hmac)\Z")
REQUEST = re.compile(rb'name="csrf-?\w+" (?:content|value)="\w+"')
"""What differs from one rendering of a page to the next."""
COMPARED = {
    "billing/selectors/proof.py": "digests of usage records that everybody who may read those may read",
    "billing/services/hours.py": "the same, of a file of the portal's own",
    "tenants/journal/chain.py": "hashes that everybody who may read the log may read",
    "tenants/services/idempotency.py": "of a request, made here from what the same token sends",
}
"""Where names like a secret's are compared with ``==``, and why that is fine."""


def named(operand: ast.expr) -> str:
    """What an operand is called: ``a.b.token`` and ``token()`` are tokens."""
    if isinstance(operand, ast.Call):
        return named(operand.func)
    return operand.attr if isinstance(operand, ast.Attribute) else operand.id if isinstance(operand, ast.Name) else ""


def test_no_secret_is_compared_byte_by_byte() -> None:
    """P-F6: CVE-2014-3517. Secrets are looked up by their hash, or compared in constant time."""
    found = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.Eq, ast.NotEq))
        and any(SECRET_NAME.search(named(operand)) for operand in (node.left, *node.comparators))
        and not any(isinstance(operand, ast.Constant) for operand in node.comparators)
    }  # fmt: skip

    assert found == set(COMPARED)


# --- canaries -------------------------------------------------------------------------------------------------------
def canaries(world: World) -> dict[str, str]:
    """Every secret that a tenant's people are given or give, by what it is."""
    tenant, owner, actor = world.house.tenant, world.house.owner, world.house.actor
    with tenant_scope(tenant):
        role = Role.objects.get(tenant=None, name="viewer")
        _row, service = token_create(None, name="service", actor=actor, tenant=tenant, role=role)
        turned, old = token_create(owner, name="turned", actor=actor, tenant=tenant)
        _row, fresh = token_rotate(turned, overlap=timedelta(hours=1), actor=actor)
        factories.guest(world.house, user_data="#cloud-config\n# canary-of-user-data\n", password="canary-of-a-guest")
    provider_create(
        slug="canary", name="Canary", issuer="https://canary.test", client_id="x", client_secret="canary-of-a-provider",
        actor=factories.desk(),
    )  # fmt: skip
    with every_tenant(why="test"):
        letters = " ".join(letter.body for letter in Letter.objects.all())
    invitation = re.search(r"/account/invitation/([\w-]+)/", letters)
    assert invitation is not None
    return {
        "a personal token": world.house.token,
        "a service token": service,
        "a rotated token": fresh,
        "the token before": old,
        "an invitation": invitation[1],
        "a password": PASSWORD,
        "user data": "canary-of-user-data",
        "a guest's password": "canary-of-a-guest",
        "a provider's secret": "canary-of-a-provider",
    }


@pytest.mark.django_db
def test_a_dump_of_the_database_shows_no_secret() -> None:
    """P-F6, P-C7."""
    secrets = canaries(build())
    shown = []

    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            text = str([tuple(map(_plain, row)) for row in cursor.fetchall()])
            shown += [(table, what) for what, secret in secrets.items() if secret in text]

    assert shown == []


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.django_db
def test_no_answer_shows_a_secret_again(settings: Any) -> None:
    """P-C7: keys are never re-readable, by nobody: not over REST, not on a page, not on the operators' site."""
    settings.API_RATE_PER_MINUTE = 1_000_000
    world = build()
    secrets = canaries(world)
    with every_tenant(why="test"):
        secrets |= {f"the digest of {token.name}": token.digest for token in ApiToken.objects.all()}
    secrets["a hash of a password"] = world.house.owner.password
    secrets.pop("user data")  # whoever may look at a machine may read what they gave it

    shown = [
        (address, what)
        for address, body in answers(world)
        for what, secret in secrets.items()
        if secret in body
    ]  # fmt: skip

    assert shown == []


def answers(world: World) -> Iterator[tuple[str, str]]:
    """Everything that can be read, as its owner and as an operator; address and body."""
    person, operators = factories.operator()
    for row in TABLE:
        if row.method == "GET":
            for token in (world.house.token, operators):
                yield row.route, words_in(Rest(token).get(world.path(row.route)).body)
    for page in PAGES:
        if page.method == "GET":
            yield page.name, words_in(told(browser(world.house.owner), "GET", path(page, world)).body)
    desk = browser(person)
    for model, row in one_of_each().items():
        stem = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        for address in (reverse(f"{stem}_changelist"), reverse(f"{stem}_change", args=[row.pk])):
            yield address, words_in(desk.get(address).content)


# --- others ---------------------------------------------------------------------------------------------------------
def readable(world: World) -> dict[str, bytes]:
    """All that a tenant's owner can read, by where it stands: over REST, and on the pages of their project."""
    client, token = Client(), {"Authorization": f"Bearer {world.house.token}"}
    client.force_login(world.house.owner, backend=BACKEND)
    rest = [f"/api/v1{world.path(row.route)}" for row in TABLE if row.method == "GET"]
    pages = [path(row, world) for row in PAGES if row.method == "GET" and in_tenant(row)]
    return {
        **{address: told(client, "GET", address, **token).body for address in rest},
        **{address: told(client, "GET", address).body for address in pages},
    }


@pytest.fixture
def clock() -> Iterator[None]:
    """Time stands still, so that pages that tell it do not change by themselves."""
    with time_machine.travel(now(), tick=False):
        yield


@pytest.mark.django_db
def test_what_others_do_is_seen_nowhere(settings: Any, clock: None) -> None:
    """P-C14: neither in a list nor in a number: whatever a neighbour has, everything reads the same, to the byte."""
    settings.API_RATE_PER_MINUTE = 1_000_000
    world = build()
    flavor = factories.Flavor.objects.get(pk=world.ids["flavor_id"])
    with tenant_scope(world.house.tenant):
        image = factories.Image.objects.get(pk=world.ids["image_id"])
    Rest(world.house.token).get("/me")  # a token's first use is written down
    before = readable(world)

    neighbour = factories.tenant_with_owner()
    for _ in range(3):
        factories.guest(neighbour, flavor=flavor, image=image, tags=["theirs"])
    factories.network(neighbour)
    Rest(neighbour.token).post(f"{neighbour.url}/tokens", {"name": "theirs"})

    after = readable(world)
    assert [where for where in before if REQUEST.sub(b"", after[where]) != REQUEST.sub(b"", before[where])] == []


@pytest.mark.django_db
def test_a_tenant_reads_nothing_of_the_host(settings: Any) -> None:
    """P-A16, P-C14: no address of libvirt, no path, no name of a host."""
    settings.API_RATE_PER_MINUTE = 1_000_000
    world = build()
    host = Host.objects.get(pk=world.ids["host_id"])
    pool = StoragePool.objects.filter(host=host).first()
    words = {host.uri, host.data_dir, host.run_dir, str(host.pk), host.name} | ({str(pool.pk)} if pool else set())

    shown = [(where, word) for where, body in readable(world).items() for word in words if word in words_in(body)]

    assert shown == []
