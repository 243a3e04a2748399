"""Forms about changes of a machine that is there."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from tenants.actors import Actor
from vms.models import Flavor, Image
from vms.selectors.stock import images_offered
from vms.services.guests.resize import When


class ResizeForm(forms.Form):
    """Another size, and when."""

    flavor: forms.ModelChoiceField[Flavor] = forms.ModelChoiceField(None, label=_("Flavor"))
    when = forms.ChoiceField(
        choices=[
            (When.LIVE, _("Now, while it runs")),
            (When.RESTART, _("Now, with a restart")),
            (When.POWER_OFF, _("When it is next off")),
        ],
        required=False,
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["flavor"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Flavor.objects.filter(enabled=True)

    def best_when(self, *, running: bool, live: bool) -> When:
        """What is chosen, or what suits best."""
        chosen = self.cleaned_data.get("when")
        if chosen and (chosen != When.LIVE or live or not running):
            return When(chosen)
        return When.LIVE if live or not running else When.RESTART

    def spec(self) -> dict[str, Any]:
        """The wish, for ``guest_resize``."""
        return {"flavor": self.cleaned_data["flavor"], "when": When(self.cleaned_data["when"] or When.LIVE)}


class ImageForm(forms.Form):
    """One of the images that are ready."""

    image: forms.ModelChoiceField[Image] = forms.ModelChoiceField(None, label=_("Image"))

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["image"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = images_offered()
