"""The OpenAPI document as a page to read: rendered here, without anybody's scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.openapi import REFUSALS, WORDS

METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body: its name, where it goes, and its type in words."""

    name: str
    place: str
    type: str
    required: bool
    words: str


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path."""

    id: str
    method: str
    path: str
    summary: str
    words: str
    parameters: list[Field]
    body: str
    answers: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Shape:
    """A named schema."""

    name: str
    words: str
    fields: list[Field]
    values: list[str]


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Every path, parameter, shape and refusal."""
    from portal.api import api

    document = api.get_openapi_schema()
    context = {
        "words": paragraphs(WORDS),
        "sections": sections(document),
        "shapes": shapes(document["components"]["schemas"]),
        "refusals": REFUSALS.items(),
    }
    return render(request, "portal/api_docs.html", context)


def paragraphs(text: str) -> list[str]:
    """Its paragraphs, without the marks of emphasis."""
    return [part.replace("**", "").replace("`", "").replace("\n", " ") for part in text.strip().split("\n\n")]


def sections(document: Mapping[str, Any]) -> dict[str, list[Route]]:
    """Routes by tag, in the document's order."""
    found: dict[str, list[Route]] = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                shared = item.get("parameters", [])
                found.setdefault(item[method]["tags"][0], []).append(_route(method, path, item[method], shared))
    return found


def _route(method: str, path: str, operation: Mapping[str, Any], shared: list[dict[str, Any]]) -> Route:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return Route(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=operation["summary"],
        words=operation.get("description", "").replace("`", ""),
        parameters=[_parameter(parameter) for parameter in [*shared, *operation["parameters"]]],
        body=type_words(body) if body else "",
        answers=[
            (status, _answer(answer)) for status, answer in operation["responses"].items() if status.startswith("2")
        ],
    )


def _parameter(parameter: Mapping[str, Any]) -> Field:
    words = parameter.get("description", "").replace("`", "")
    schema = parameter["schema"]
    return Field(parameter["name"], parameter["in"], type_words(schema), parameter.get("required", False), words)


def _answer(answer: Mapping[str, Any]) -> str:
    content = answer.get("content", {}).get("application/json", {}).get("schema")
    return type_words(content) if content else "nothing"


def shapes(schemas: Mapping[str, Any]) -> list[Shape]:
    """Named schemas, by name."""
    return [
        Shape(
            name=name,
            words=schema.get("description", "").replace("`", ""),
            fields=[
                Field(
                    field, "", type_words(facts), field in schema.get("required", []),
                    facts.get("description", "").replace("`", ""),
                )
                for field, facts in schema.get("properties", {}).items()
            ],
            values=[str(value) for value in schema.get("enum", [])],
        )
        for name, schema in sorted(schemas.items())
    ]  # fmt: skip


def type_words(schema: Mapping[str, Any]) -> str:
    """A schema's type in words: ``integer 1–500``, ``list of GuestOut``, ``string or null``."""
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(type_words(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_words(schema.get('items', {}))}"
    kind = str(schema.get("format", schema.get("type", "anything")))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{kind} {low}–{high}"
    if "maxLength" in schema:
        return f"{kind}, at most {schema['maxLength']} characters"
    return kind
