"""What every page of a tenant begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render

from portal.core.htmx import is_partial, part_template
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.types import HttpRequest

type View[**P] = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def page[**P](permission: Permission) -> Callable[[View[P]], View[P]]:
    """A view that nobody without ``permission`` gets into; services still ask about the subject.

    Notes how far the journal stood before the view read anything: the page then asks for every later event, so that
    nothing falls between what it shows and what it hears.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            request.actor.require(permission)
            if request.method == "GET" and not is_partial(request):
                request.event_seq = tenant_of(request).events_at or 0
            return view(request, *args, **kwargs)

        return checked

    return decorate


def tenant_of(request: HttpRequest) -> Tenant:
    """The tenant that the middleware found for this page."""
    assert request.actor.tenant is not None
    return request.actor.tenant


def confirm(request: HttpRequest, question: Mapping[str, Any], *, back: Mapping[str, str]) -> HttpResponse:
    """Ask first: ``question`` has title, text (what falls), button, icon and may have ``besides`` {text, url, label}.

    ``back`` is where who thinks again goes.
    """
    template = part_template(request, "tenants/confirm.html", default="dialog")
    return render(request, template, {**question, "back": back})


def gone() -> HttpResponse:
    """The answer to an element that asks for itself and is no longer there: nothing, which takes its place."""
    return HttpResponse("")
