"""The catalogue of well-known images beside what of it is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from operations.models import Operation
from operations.selectors import operations_live_on
from portal.core.units import gib_label, mib_label
from vms.catalogue import Entry, catalogue
from vms.models import Image
from vms.states import ImageState

WORDS: Final[Mapping[ImageState, str | Promise]] = {
    ImageState.IMPORTING: gettext_lazy("Importing"),
    ImageState.READY: gettext_lazy("Ready"),
    ImageState.DEPRECATED: gettext_lazy("Deprecated"),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry, the newest image that was made of it, and what is being done with that; ``problem`` says why none came last."""

    entry: Entry
    image: Image | None
    operation: Operation | None
    problem: str = ""

    @property
    def coming(self) -> bool:
        """Is it on its way?"""
        return self.image is not None and self.image.state == ImageState.IMPORTING

    @property
    def needs(self) -> str:
        """The least memory and disk, in words."""
        return f"{mib_label(self.entry.spec.min_memory_mib)} · {gib_label(self.entry.spec.least_disk_gib)}"

    @property
    def state_word(self) -> str:
        """How what is here stands."""
        return str(WORDS[ImageState(self.image.state)]) if self.image is not None else ""

    @property
    def may_fetch(self) -> bool:
        """Does a click fetch it, or its newest release?"""
        return bool(self.entry.url) and not self.coming


def catalogue_offers() -> list[Offer]:
    """Every entry, in the file's order; two queries. Needs every tenant's scope."""
    rows = Image.objects.filter(tenant=None, origin__in=catalogue()).exclude(state=ImageState.DELETING)
    newest, problems = dict[str, Image](), dict[str, str]()
    for image in rows.order_by("created_at", "pk"):
        problems[image.origin] = image.problem
        if image.state != ImageState.FAILED:
            newest[image.origin] = image
    live = operations_live_on("image", [image.pk for image in newest.values()])
    return [_offer(entry, newest.get(key), live, problems.get(key, "")) for key, entry in catalogue().items()]


def _offer(entry: Entry, image: Image | None, live: Mapping[UUID, Operation], problem: str) -> Offer:
    return Offer(entry, image, live.get(image.pk) if image is not None else None, problem)
