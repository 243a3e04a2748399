"""What the framework's OpenAPI document does not say by itself: the tenant in the path, refusals, and repeat safety."""

from __future__ import annotations

from typing import Any, Final

WORDS: Final = """\
Tokens go into `Authorization: Bearer …`; cookies open nothing here. Times are UTC, RFC 3339. Identifiers are opaque.

**Errors** are `application/problem+json` (RFC 9457) with a stable `code`, the faults of single fields in `errors`, and a
`request_id` for the operator. What is not there and what is not yours are the same 404.

**Lists** give `items` and `next`; hand `next` back as `cursor`. Unknown parameters are refused, not ignored.

**Long work** answers 202 with an operation; `GET` it with `?wait=` (seconds, at most 60) to wait for its end.

**Repeat safety**: with an `Idempotency-Key`, the same POST again gives the first answer again for 24 hours.

**Lost updates**: single resources carry an `ETag`; send it back as `If-Match`, and a change by somebody else in between
gives 412.

**Limits**: `RateLimit-*` say what is left in this minute; beyond it, 429 with `Retry-After`.
"""
REFUSALS: Final = {
    401: "No token, or a dead one.",
    403: "The role or the token does not allow this.",
    404: "Not there, or not yours.",
    405: "Not with this method; `Allow` says which.",
    409: "Not in the present state; `code` says why (`over_quota`, `no_room`, `operation_in_progress`, …).",
    412: "`If-Match` names an older version.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The body or a parameter is wrong; `errors` says where.",
    429: "Too many requests; `Retry-After` says when to go on.",
    503: "A part of the system does not answer; nothing was changed.",
}
PROBLEM: Final[dict[str, Any]] = {
    "title": "Problem",
    "type": "object",
    "description": "Why a request was refused.",
    "required": ["type", "title", "status", "detail", "code", "errors", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "A sentence for people."},
        "code": {"type": "string", "description": "A word for programs; never changes meaning."},
        "hint": {"type": "string", "description": "What to do next."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "message"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer into the body, or `/parameter`."},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
        "request_id": {"type": "string"},
    },
}
TENANT: Final[dict[str, Any]] = {
    "in": "path",
    "name": "tenant",
    "required": True,
    "description": "The project's short name.",
    "schema": {"type": "string"},
}
IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "description": "A fresh word of your own for each thing to be done once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
IF_MATCH: Final[dict[str, Any]] = {
    "in": "header",
    "name": "If-Match",
    "required": False,
    "description": "The `ETag` of what you saw.",
    "schema": {"type": "string"},
}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """The framework's document with what holds for every path added; changes and returns it."""
    document["components"]["schemas"]["Problem"] = PROBLEM
    document["components"]["responses"] = {
        str(status): {
            "description": words,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, words in REFUSALS.items()
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            _complete(operation, path, method)
        if "{tenant}" in path:
            item["parameters"] = [TENANT]
    return document


def _complete(operation: dict[str, Any], path: str, method: str) -> None:
    statuses = [401, 403, 404, 422, 429, 503]
    if method != "get":
        statuses += [409, 413, 415]
    if method == "post" and not path.endswith("/console"):
        operation["parameters"].append(IDEMPOTENCY_KEY)
    if method in ("patch", "put", "delete"):
        operation["parameters"].append(IF_MATCH)
        statuses.append(412)
    responses = {str(status): response for status, response in operation["responses"].items()}
    for status in sorted(statuses):
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{status}"})
    operation["responses"] = responses
