"""The answer to what broke where nobody caught it, middleware included."""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from portal.core.database import will_pass
from portal.core.errors import Broken, Unreachable
from portal.core.problems import problem_response


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's ``handler500``: a problem for REST, a page for everybody else; 503 where only the database is away."""
    error = sys.exc_info()[1]
    passes = error is not None and will_pass(error)
    if request.path_info.startswith("/api/"):
        return problem_response(request, Unreachable() if passes else Broken())
    response: HttpResponse = defaults.server_error(request)
    if passes:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return response
