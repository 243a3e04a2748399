"""Forms about machines."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from portal.core.forms import Choice
from tenants.actors import Actor
from tenants.policy import Permission
from vms.models import Flavor, Image, Network, PlacementGroup, SecurityGroup, SshKey
from vms.selectors.stock import images_startable
from vms.specs import PASSWORD_MAX, START_DELAY_MAX_S, START_ORDER_MAX, GuestSpec, StartOrder
from vms.states import AfterCrash

USER_DATA_MAX = 65536
PLACEHOLDER = "machine"


class TagsField(forms.CharField):
    """Words with commas or spaces between; becomes a tuple without doubles, in their order."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            label=_("Tags"), required=False, max_length=700,
            help_text=_("Words with a space between, such as prod web."), **kwargs,
        )  # fmt: skip

    def to_python(self, value: Any) -> Any:
        words = str(super().to_python(value)).replace(",", " ").split()
        return tuple(dict.fromkeys(words))


class GuestForm(forms.Form):
    """Machines to be made."""

    name = forms.CharField(label=_("Name"), max_length=63)
    count = forms.IntegerField(label=_("How many"), initial=1, min_value=1)
    image: forms.ModelChoiceField[Image] = forms.ModelChoiceField(None, label=_("Image"), empty_label=None)
    flavor: forms.ModelChoiceField[Flavor] = forms.ModelChoiceField(None, label=_("Flavor"), empty_label=None)
    networks: forms.ModelMultipleChoiceField[Network] = forms.ModelMultipleChoiceField(
        None, label=_("Networks"), required=False
    )
    security_groups: forms.ModelMultipleChoiceField[SecurityGroup] = forms.ModelMultipleChoiceField(
        None, label=_("Security groups"), required=False
    )
    ssh_keys: forms.ModelMultipleChoiceField[SshKey] = forms.ModelMultipleChoiceField(
        None, label=_("SSH keys"), required=False
    )
    placement_group: forms.ModelChoiceField[PlacementGroup] = forms.ModelChoiceField(
        None, label=_("Placement group"), required=False, empty_label=_("None"), widget=Choice,
        help_text=_("Keeps machines apart on their hosts, or together."),
    )  # fmt: skip
    tags = TagsField()
    user_data = forms.CharField(
        label=_("User-data"), required=False, max_length=USER_DATA_MAX, strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "class": "mono", "spellcheck": "false"}),
        help_text=_("cloud-init: begins with #cloud-config or #!."),
    )  # fmt: skip
    password = forms.CharField(
        label=_("First password"), required=False, max_length=PASSWORD_MAX, strip=False,
        widget=forms.PasswordInput(render_value=True, attrs={"autocomplete": "new-password"}),
        help_text=_("Of the image's user, for the console and for SSH. Keys are safer."),
    )  # fmt: skip
    protected = forms.BooleanField(label=_("Protect against deletion"), required=False)
    start = forms.BooleanField(label=_("Start it when it is ready"), required=False, initial=True)

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("image", images_startable())
        self._offer("flavor", Flavor.objects.filter(enabled=True))
        self._offer("networks", Network.objects.all())
        self._offer("security_groups", SecurityGroup.objects.all())
        self._offer("ssh_keys", SshKey.objects.all())
        groups = PlacementGroup.objects.all()
        self._offer("placement_group", groups if actor.may(Permission.PLACEMENT_VIEW) else groups.none())
        self.fields["count"].max_value = settings.CAPS["batch"]  # type: ignore[attr-defined]
        self.fields["name"].widget.attrs |= {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}

    def _offer(self, name: str, rows: Any) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = rows

    def spec(self) -> GuestSpec:
        """What is asked for."""
        given = self.cleaned_data
        return GuestSpec(
            name=given["name"],
            flavor=given["flavor"],
            image=given["image"],
            networks=tuple(given["networks"]),
            groups=tuple(given["security_groups"]),
            ssh_keys=tuple(given["ssh_keys"]),
            user_data=given["user_data"].replace("\r\n", "\n"),
            password=given["password"],
            tags=given["tags"],
            placement_group=given["placement_group"],
            count=given["count"],
            start=given["start"],
            protected=given["protected"],
        )

    def draft(self) -> GuestSpec | None:
        """As much of it as can be read yet; None before there is an image and a flavor."""
        self.is_valid()
        given = self.cleaned_data
        if "image" not in given or "flavor" not in given:
            return None
        return GuestSpec(
            name=given.get("name") or PLACEHOLDER,
            flavor=given["flavor"],
            image=given["image"],
            networks=tuple(given.get("networks", ())),
            groups=tuple(given.get("security_groups", ())),
            ssh_keys=tuple(given.get("ssh_keys", ())),
            user_data=given.get("user_data", ""),
            password=given.get("password", ""),
            tags=given.get("tags", ()),
            placement_group=given.get("placement_group"),
            count=given.get("count") or 1,
            start=given.get("start", True),
        )


class RenameForm(forms.Form):
    """Another name for a machine."""

    name = forms.CharField(
        label=_("Name"), max_length=63, help_text=_("The host name inside the machine stays what it was.")
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """The change, for ``guest_edit``."""
        return {"name": self.cleaned_data["name"]}


class TagsForm(forms.Form):
    """Exactly these tags."""

    tags = TagsField()

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """The change, for ``guest_edit``."""
        return {"tags": self.cleaned_data["tags"]}


class StartOrderForm(forms.Form):
    """When it is started after a restart of its host, and whether after a crash."""

    start_order = forms.IntegerField(
        label=_("Place"), required=False, min_value=1, max_value=START_ORDER_MAX,
        help_text=_("1 is started first; those of the same number together. Empty: after all that have one."),
    )  # fmt: skip
    start_delay_s = forms.IntegerField(
        label=_("Seconds until the next"), required=False, min_value=0, max_value=START_DELAY_MAX_S,
        help_text=_("How long it runs before those of larger numbers follow."),
    )  # fmt: skip
    after_crash = forms.TypedChoiceField(
        label=_("After a crash"), coerce=AfterCrash, widget=Choice,
        choices=[(AfterCrash.RESTART, _("Start it again")), (AfterCrash.LEAVE, _("Leave it off"))],
        help_text=_("Started again at once, then later each time; after five times in an hour it is left off."),
    )  # fmt: skip

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """The change, for ``guest_edit``."""
        given = self.cleaned_data
        start = StartOrder(given["start_order"], given["start_delay_s"] or 0)
        return {"start": start, "after_crash": given["after_crash"]}


class ProtectForm(forms.Form):
    """Delete protection on or off."""

    protected = forms.TypedChoiceField(
        choices=[("true", _("On")), ("false", _("Off"))], coerce=lambda text: text == "true"
    )

    def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def spec(self) -> dict[str, Any]:
        """The change, for ``guest_edit``."""
        return {"protected": self.cleaned_data["protected"]}
