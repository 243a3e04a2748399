"""The dialog by which something is put into a machine, or taken out of it: a form, and back to the machine's tab."""

from __future__ import annotations

from dataclasses import dataclass

from django import forms
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse

from portal.core.htmx import part_template
from tenants.types import HttpRequest
from vms.models import Guest
from vms.views.find import tenant_of


@dataclass(frozen=True, slots=True)
class PartDialog:
    """Dialogs of one ``tab`` of the machine's page, under one ``icon``."""

    tab: str
    icon: str

    def show(self, request: HttpRequest, guest: Guest, form: forms.Form, words: dict[str, str]) -> HttpResponse:
        """Ask; ``words`` has title, text and button, and may have ``none``: why there is nothing to choose."""
        back = {"url": self._address(request, guest), "label": guest.name}
        template = part_template(request, "vms/part_form.html", default="dialog")
        context = {**words, "icon": self.icon, "form": form, "back": back}
        return render(request, template, context, status=422 if form.is_bound else 200)

    def back(self, request: HttpRequest, guest: Guest) -> HttpResponseRedirect:
        """Done."""
        return redirect(self._address(request, guest))

    def _address(self, request: HttpRequest, guest: Guest) -> str:
        return reverse("vms:guest_detail", args=[tenant_of(request).slug, guest.pk]) + f"?tab={self.tab}"
