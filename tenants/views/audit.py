"""Who did what in a project, whether that is still what was written, and all of it as a file."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.core.htmx import is_partial
from tenants.files import audit_response
from tenants.forms.audit import AuditForm, VerifyForm
from tenants.journal.chain import Verdict, chain_verify
from tenants.journal.search import AuditSearch
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.selectors import audit_page
from tenants.shapes import deeds
from tenants.types import HttpRequest

PAGE: Final = "tenants/audit_list.html"
AT_ONCE: Final = 25_000
FILES: Final = (("csv", "CSV"), ("jsonl", "JSON"))


@require_safe
@page(Permission.AUDIT_VIEW)
def audit_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """Who did what, newest first, narrowed by what is known of it."""
    return render(request, PAGE, _log(request, tenant))


@require_safe
@page(Permission.AUDIT_VIEW)
def audit_verify(request: HttpRequest, tenant: str) -> HttpResponse:
    """Is the log still what was written? The answer takes its place in the page."""
    form = VerifyForm(request.GET)
    verdict = chain_verify(tenant_of(request), after=form.spec(), limit=AT_ONCE) if form.is_valid() else None
    context = {"verify_form": form, "verdict": verdict, "next": _following(verdict)}
    status = 200 if verdict is not None else 422
    if is_partial(request):
        return render(request, f"{PAGE}#verdict", context, status=status)
    return render(request, PAGE, {**_log(request, tenant), **context}, status=status)


@require_safe
@page(Permission.AUDIT_VIEW)
def audit_export(request: HttpRequest, tenant: str) -> HttpResponseBase:
    """What the filters leave, as JSON lines or CSV (``?format=csv``)."""
    kind = "csv" if request.GET.get("format") == "csv" else "jsonl"
    return audit_response(tenant_of(request), _search(AuditForm(request.GET, actor=request.actor)), kind)


def _search(form: AuditForm) -> AuditSearch:
    """What is looked for; a filter that makes no sense finds everything, and its field says so."""
    return form.spec() if form.is_valid() else AuditSearch()


def _log(request: HttpRequest, tenant: str) -> dict[str, Any]:
    form = AuditForm(request.GET, actor=request.actor)
    search = _search(form)
    found = audit_page(search, cursor=request.GET.get("cursor", ""))
    words = {name: str(value) for name, value in request.GET.items() if name in form.fields and value}
    following = request.GET.copy()
    following["cursor"] = found.next or ""
    return {
        "entries": deeds(found.items, tenant),
        "form": form,
        "is_filtered": bool(words),
        "is_open": bool(set(words) - {"q"}),
        "files": [{"label": label, "query": _query(words, kind)} for kind, label in FILES],
        "verify_form": VerifyForm(),
        "page": {"shown_label": "", "next_url": f"?{following.urlencode()}" if found.next else None},
    }


def _query(words: dict[str, str], kind: str) -> str:
    return urlencode({**words, "format": kind})


def _following(verdict: Verdict | None) -> VerifyForm | None:
    """Where a look that stopped at its limit goes on."""
    if verdict is None or not verdict.more:
        return None
    return VerifyForm(initial={"after_seq": verdict.end.seq, "hash": verdict.end.hash}, auto_id=False)
