"""What operators press on their site, as tests press it."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse

from tenants.models import AuditEntry
from tenants.scoping import every_tenant


def address(row: Model, page: str = "change", *more: str) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk, *more])


def do(desk: Client, row: Model, deed: str, **answers: Any) -> Any:
    """Press a deed's button; follows to the page that says what came of it."""
    return desk.post(address(row, "deed", deed), answers, follow=True)


def add(desk: Client, model: type[Model], **answers: Any) -> Any:
    return desk.post(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add"), answers, follow=True)


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def audited(action: str) -> AuditEntry:
    with every_tenant(why="test"):
        return AuditEntry.objects.filter(action=action).latest("at")
