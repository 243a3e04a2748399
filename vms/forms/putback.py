"""The form by which a machine goes back to a backup."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Ticks
from vms.models import Backup


class PutBackForm(forms.Form):
    """Which disks, and what becomes of what they are now; ``stop`` is asked of a machine that is not off."""

    disks = forms.TypedMultipleChoiceField(label=_("Disks"), coerce=int, widget=Ticks)
    stop = forms.BooleanField(
        label=_("Switch the machine off for this"), required=False,
        help_text=_("Without asking it, once all disks are ready. If it runs now, it is started again from them."),
    )  # fmt: skip
    drop = forms.BooleanField(
        label=_("Delete the disks as they are now"), required=False,
        help_text=_("Otherwise they stay as volumes of their own, and count and cost as such."),
    )  # fmt: skip

    def __init__(self, *args: Any, backup: Backup, is_off: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["disks"]
        assert isinstance(field, forms.TypedMultipleChoiceField)
        field.choices = [(disk.position, f"{disk.name} · {disk.size_gib} GiB") for disk in backup.disks.all()]
        if is_off:
            del self.fields["stop"]

    def words(self) -> dict[str, Any]:
        """The wish, for ``backup_put_back``."""
        words = self.cleaned_data
        return {"disks": words["disks"], "stop": words.get("stop", False), "keep": not words["drop"]}
