"""The OpenAPI document and its page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

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
