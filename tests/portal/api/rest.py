"""A REST client for tests: JSON in, JSON out, one bearer token."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client


class Answer:
    """A response with its JSON at hand."""

    def __init__(self, response: Any) -> None:
        self.raw = response
        self.status: int = response.status_code
        self.headers = response.headers
        self.body: bytes = response.getvalue()
        self.json: Any = json.loads(self.body) if self.body and _kind(response) == "json" else None

    def __repr__(self) -> str:
        return f"{self.status} {self.json}"


def _kind(response: Any) -> str:
    """The kind of body without its family: ``json`` for problems, too."""
    return str(response.headers.get("Content-Type", "")).partition(";")[0].rpartition("/")[2].rpartition("+")[2]


class Rest:
    """Speaks for one token; none speaks for nobody."""

    def __init__(self, token: str = "") -> None:
        self.client = Client()
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request; ``path`` below ``/api/v1`` or whole, header names with underscores."""
        url = path if path.startswith("/api/") else f"/api/v1{path}"
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        kind = given.pop("Content-Type", "application/json")
        return Answer(self.client.generic(method, url, data, content_type=kind, headers=given))

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("PUT", path, body, **headers)

    def patch(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Answer:
        return self.ask("DELETE", path, **headers)
