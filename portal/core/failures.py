"""The answers where nobody caught what broke, or what came could not be a request; middleware included."""

from __future__ import annotations

import sys
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults

from portal.core.database import will_pass
from portal.core.errors import Broken, NotUnderstood, Unreachable
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


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's ``handler400``: who asks by another name, such as localhost for 127.0.0.1, is told the portal's own."""
    if request.path_info.startswith("/api/"):
        return problem_response(request, NotUnderstood())
    home = settings.PUBLIC_URL if isinstance(exception, DisallowedHost) else ""
    return render(request, "errors/400.html", {"home": home}, status=HTTPStatus.BAD_REQUEST)
