"""The OpenAPI document and its page."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from django.test import Client
from ninja import NinjaAPI
from ninja.openapi.schema import OpenAPISchema
from pydantic import create_model

from portal.api import api

pytestmark = pytest.mark.django_db


def test_anybody_may_read_the_document() -> None:
    document = json.loads(Client().get("/api/v1/openapi.json").content)

    assert document["openapi"].startswith("3.1")
    for path in ("guests", "operations", "images", "volumes", "networks", "ports", "ssh-keys", "members", "tokens"):
        assert f"/api/v1/tenants/{{tenant}}/{path}" in document["paths"], path


def test_every_operation_has_a_name_of_its_own_and_says_how_it_is_refused() -> None:
    operations = [
        operation
        for item in api.document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]

    names = [operation["operationId"] for operation in operations]
    assert sorted(names) == sorted(set(names))
    assert all({"401", "403", "404", "422", "429"} <= set(operation["responses"]) for operation in operations)
    assert all(operation["security"] for operation in operations)


def torn_names(described: NinjaAPI, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Components of a document that were given more than one shape; the framework lets the last one stand, and says nothing."""
    shapes: defaultdict[str, list[Any]] = defaultdict(list)

    def keep(schema: OpenAPISchema, definitions: dict[str, Any]) -> None:
        for name, shape in definitions.items():
            if shape not in shapes[name]:
                shapes[name].append(shape)
        schema.schemas.update(definitions)

    with monkeypatch.context() as watched:
        watched.setattr(OpenAPISchema, "add_schema_definitions", keep)
        NinjaAPI.get_openapi_schema(described, path_prefix="")
    return {name for name, found in shapes.items() if len(found) > 1}


def test_no_two_shapes_share_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torn_names(api, monkeypatch) == set()


def test_two_shapes_of_one_name_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = create_model("ThingOut", a=(int, ...)), create_model("ThingOut", b=(str, ...))
    planted = NinjaAPI(urls_namespace="planted")
    planted.get("/one", response=one)(lambda request: None)
    planted.get("/other", response=other)(lambda request: None)

    assert torn_names(planted, monkeypatch) == {"ThingOut"}


def test_every_path_says_what_stands_in_its_braces() -> None:
    for path, item in api.document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            parameters = [*item.get("parameters", []), *operation["parameters"]]
            named = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path


def test_the_page_names_every_path_without_scripts_of_others(settings: Any) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }

    response = Client().get("/api/v1/docs")
    page = response.content.decode()

    assert response.status_code == 200
    assert "unsafe-inline" not in response.headers["Content-Security-Policy"]
    assert all(path in page for path in api.document["paths"])
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count('<script src="/static/')
