"""What every page of the operators' site stands on: rows are shown, never edited in place; what may be done is a deed.

A deed is a method of a ``ServiceAdmin`` that calls one service. It has a page of its own that says what it would do and asks
what it needs; those that make sense for many rows can be chosen in the list, and show each row's forecast first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.contrib.admin.utils import flatten_fieldsets, quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from portal.admin_deeds import DEED_MARK, Deed, Revealed, sentence
from portal.admin_shown import Note, Panel, Words
from portal.core.errors import PortalError
from portal.templatetags.portal_ui import when
from tenants.actors import Actor


def actor_of(request: HttpRequest) -> Actor:
    """The operator who asks; the site lets nobody else in."""
    actor: Actor = request.actor  # type: ignore[attr-defined]  # tenants.middleware sets it
    return actor


if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = admin.ModelAdmin


def deed_log(actor: Actor, model: Any, row: Any, label: Words, said: str) -> None:
    """Write what an operator has done, to ``row`` or to make a new one, into the operators' log."""
    LogEntry.objects.create(
        user_id=actor.user.pk,  # type: ignore[union-attr]  # an operator is a person
        content_type=get_content_type_for_model(model),
        object_id="" if row is None else str(row.pk),
        object_repr=(said if row is None else str(row))[:200],
        action_flag=ADDITION if row is None else CHANGE,
        change_message=f"{label}: {said}",
    )


class ServiceAdmin(AnyModelAdmin):
    """Rows to look at, and deeds. Nothing is written but by a service, and every deed leaves an entry in the admin log.

    Subclasses name what they show in ``fieldsets`` (so that no secret is shown by default) and write methods with ``@deed``.
    """

    deeds: ClassVar[dict[str, Deed]] = {}
    add_button: ClassVar[Words] = ""
    plural: ClassVar[Words] = ""
    """What the rows are called on the screen."""
    lede: ClassVar[Words] = ""
    """One sentence under the list's title."""
    add_form_template = change_form_template = "admin/service_object.html"
    empty_value_display = "–"
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0
    actions_selection_counter = True
    show_facets = admin.ShowFacets.NEVER

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        found = {
            name: getattr(value, DEED_MARK)
            for base in reversed(cls.__mro__)
            for name, value in vars(base).items()
            if isinstance(getattr(value, DEED_MARK, None), Deed)
        }
        cls.deeds = found
        cls.actions = [_mass(each) for each in found.values() if each.many]
        cls.add_button = next((each.label for each in found.values() if each.adds), "")

    # --- who may what: operators look, and nobody edits in place -----------------------------------------------------
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return actor_of(request).is_operator

    def has_module_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).is_operator

    def has_add_permission(self, request: HttpRequest) -> bool:
        return actor_of(request).is_operator and any(each.adds for each in self.deeds.values())

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> NoReturn:
        """Never: a service does it."""
        raise PermissionDenied

    def delete_model(self, request: HttpRequest, obj: Any) -> NoReturn:
        """Never: a service does it."""
        raise PermissionDenied

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> NoReturn:
        """Never: a service does it."""
        raise PermissionDenied

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        return flatten_fieldsets(self.get_fieldsets(request, obj))

    @property
    def media(self) -> forms.Media:
        """Only what the list's boxes need; the stock set brings jQuery."""
        return forms.Media(js=["admin/js/actions.js"] if self.actions else [])

    # --- what a row's page shows besides its fields -------------------------------------------------------------------
    def heading(self, row: Any) -> str:
        """What a row is called above its page."""
        return str(row)

    def panels(self, row: Any) -> Iterable[Panel]:
        """Tables under the fields."""
        return ()

    def notes(self, row: Any) -> Iterable[Note]:
        """What to know first."""
        return ()

    def links(self, row: Any) -> Iterable[tuple[str, Words, str]]:
        """Where else to look: address, words, icon."""
        return ()

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        name = f"{self.opts.app_label}_{self.opts.model_name}_deed"
        return [path("<path:object_id>/do/<slug:name>/", wrap(self.deed_view), name=name), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"lede": self.lede, "add_button": self.add_button, **(extra_context or {})}
        context["title"] = self.plural
        return super().changelist_view(request, context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, unquote(object_id))
        if row is not None:
            extra_context = {**self._page(request, row), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, extra_context)

    def _page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        actor = actor_of(request)
        buttons = [
            {"deed": each, "url": self._url("deed", row, each.name)}
            for each in self.deeds.values()
            if not each.adds and each.forecast(self, row, actor).does
        ]
        return {
            "title": self.heading(row),
            "plural": self.plural,
            "buttons": buttons,
            "panels": [*self.panels(row), self._log_panel(row)],
            "notes": list(self.notes(row)),
            "links": list(self.links(row)),
        }

    def _log_panel(self, row: Any) -> Panel:
        entries = LogEntry.objects.filter(
            object_id=str(row.pk), content_type=get_content_type_for_model(row)
        ).select_related("user")[:10]
        rows = [(when(each.action_time), str(each.user), each.get_change_message()) for each in entries]
        return Panel(_("Done here"), [_("When"), _("Who"), _("What")], rows)

    def _url(self, page: str, row: Any = None, *more: str) -> str:
        args = [] if row is None else [quote(row.pk), *more]
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=args)

    # --- deeds --------------------------------------------------------------------------------------------------------
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of the deed that makes a new row."""
        making = next((each for each in self.deeds.values() if each.adds), None)
        if making is None:
            raise PermissionDenied
        return self._ask(request, making, None)

    def deed_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """The page of a deed on one row: what it does, its questions, and the button."""
        row = self.get_object(request, unquote(object_id))
        known = self.deeds.get(name)
        if row is None or known is None or known.adds:
            raise Http404
        return self._ask(request, known, row)

    def _ask(self, request: HttpRequest, asked: Deed, row: Any) -> HttpResponse:
        form = asked.form(request.POST if request.method == "POST" else None, row=row)
        if request.method == "POST" and form.is_valid():
            try:
                answer = self._do(request, asked, row, form.cleaned_data)
            except PortalError as error:
                form.refuse(error)
            else:
                if isinstance(answer, Revealed):
                    return self._reveal(request, asked, answer)
                messages.success(request, answer)
                return HttpResponseRedirect(self._after(request, row))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "plural": self.plural,
            "title": asked.label,
            "deed": asked,
            "form": form,
            "original": row,
            "forecast": asked.forecast(self, row, actor_of(request)) if row is not None else None,
            "back": self._url("change", row) if row is not None else self._url("changelist"),
        }
        return TemplateResponse(request, "admin/deed.html", context)

    def _reveal(self, request: HttpRequest, asked: Deed, answer: Revealed) -> HttpResponse:
        """Show a secret in the answer itself: not in a message, which would lie in the session."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "plural": self.plural,
            "title": asked.label,
            "answer": answer,
            "back": self._url("changelist"),
        }
        return TemplateResponse(request, "admin/deed_secret.html", context, headers={"Cache-Control": "no-store"})

    def _do(self, request: HttpRequest, asked: Deed, row: Any, answers: dict[str, Any]) -> str | Revealed:
        """Carry it out and log it, in one transaction; raises the service's ``PortalError``."""
        with transaction.atomic():
            answer: str | Revealed = getattr(self, asked.name)(row, actor_of(request), answers)
            said = answer.said if isinstance(answer, Revealed) else answer
            deed_log(actor_of(request), self.model, row, asked.label, said)
        return answer

    def _after(self, request: HttpRequest, row: Any) -> str:
        """The row's page, or the list where it is new or gone."""
        there = row is not None and self.get_queryset(request).filter(pk=row.pk).exists()
        return self._url("change", row) if there else self._url("changelist")

    def do_many(self, request: HttpRequest, asked: Deed, rows: QuerySet[Any]) -> HttpResponse | None:
        """Show what would happen to each chosen row and have the count typed; then do it, row by row.

        One row's refusal does not stop the others. More rows than ``CAPS["batch"]`` are refused as a whole.
        """
        cap = settings.CAPS["batch"]
        chosen = list(rows[: cap + 1])
        if len(chosen) > cap:
            messages.error(request, _("At most %d at once. Choose fewer; nothing was done.") % cap)
            return None
        actor = actor_of(request)
        forecasts = [(row, self.heading(row), asked.forecast(self, row, actor)) for row in chosen]
        doable = [row for row, _name, forecast in forecasts if forecast.does]
        form = asked.form(request.POST if "confirmed" in request.POST else None)
        wrong = ""
        if "confirmed" in request.POST and form.is_valid():
            if request.POST.get("count", "").strip() == str(len(doable)) and doable:
                self._do_each(request, asked, doable, form.cleaned_data)
                return HttpResponseRedirect(request.get_full_path())
            wrong = _("That is not the number of rows this would change. Nothing was done.")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "plural": self.plural,
            "title": asked.label,
            "deed": asked,
            "form": form,
            "forecasts": forecasts,
            "doable": len(doable),
            "wrong": wrong,
            "back": request.get_full_path(),
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/deed_many.html", context)

    def _do_each(self, request: HttpRequest, asked: Deed, rows: Sequence[Any], answers: dict[str, Any]) -> None:
        done = 0
        for row in rows:
            try:
                self._do(request, asked, row, answers)
                done += 1
            except PortalError as error:
                messages.error(request, f"{self.heading(row)}: {sentence(error)}")
        if done:
            said = ngettext("%(label)s: done for %(n)d.", "%(label)s: done for %(n)d.", done)
            messages.success(request, said % {"label": asked.label, "n": done})


def _mass(asked: Deed) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponse | None]:
    """A deed as an entry of the list's menu."""

    @admin.action(description=str(asked.label))
    def run(model_admin: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        answer: HttpResponse | None = model_admin.do_many(request, asked, rows)
        return answer

    run.__name__ = asked.name
    return run
