"""What breaks before a view is reached is answered as what breaks in one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from portal.core.failures import server_error


@pytest.mark.parametrize(
    ("path", "error", "status", "kind"),
    [
        ("/api/v1/me", OperationalError("away"), 503, "application/problem+json"),
        ("/api/v1/me", RuntimeError("ours"), 500, "application/problem+json"),
        ("/t/acme/", OperationalError("away"), 503, "text/html"),
        ("/t/acme/", RuntimeError("ours"), 500, "text/html"),
    ],
)
def test_rest_gets_a_problem_and_people_a_page(path: str, error: Exception, status: int, kind: str) -> None:
    try:
        raise error
    except type(error):
        answer = server_error(RequestFactory().get(path))

    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (status, kind)
    assert str(error) not in answer.content.decode()
    if kind != "text/html":
        assert json.loads(answer.content)["code"] == ("unreachable" if status == 503 else "broken")


@pytest.mark.parametrize("path", ["/", "/account/login/", "/t/acme/machines/"])
def test_whoever_asks_by_another_name_is_told_the_portals_own(client: Client, path: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    settings.PUBLIC_URL = "http://127.0.0.1:8000"

    answer = client.get(path, headers={"Host": "localhost:8000"})

    assert answer.status_code == 400
    assert 'href="http://127.0.0.1:8000/"' in answer.content.decode()


def test_a_program_that_asks_by_another_name_gets_a_problem(client: Client, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["127.0.0.1"]

    answer = client.get("/api/v1/me", headers={"Host": "evil.test"})

    assert (answer.status_code, answer.json()["code"]) == (400, "not_understood")
    assert "evil.test" not in answer.content.decode()
