"""What breaks before a view is reached is answered as what breaks in one."""

from __future__ import annotations

import json

import pytest
from django.db import OperationalError
from django.test import RequestFactory

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
