"""Is a spec usable? Every field that is not, at once; and the hashing of a first password."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from django.conf import settings
from django.utils.translation import gettext as _

from portal.core.errors import FieldError, Invalid
from portal.core.units import mib_label
from vms.services.keys import key_parse
from vms.specs import NAME, PASSWORD_MAX, TAG, USER_DATA_MAX, GuestSpec
from vms.states import ImageState


def guest_spec_check(spec: GuestSpec) -> None:
    """Raise ``Invalid`` naming every field of ``spec`` that cannot be used."""
    errors: list[FieldError] = []

    def wrong(pointer: str, code: str, message: str) -> None:
        errors.append(FieldError(pointer, code, message))

    if not 1 <= spec.count <= settings.CAPS["batch"]:
        wrong("/count", "invalid_count", _("Between 1 and %d at once.") % settings.CAPS["batch"])
    elif not all(NAME.match(name) for name in spec.names()):
        wrong("/name", "invalid_name", _("Use small letters, digits and hyphens, at most 63, as for a host name."))
    if not spec.flavor.enabled:
        wrong("/flavor", "flavor_gone", _("This size is no longer offered."))
    if spec.image.state != ImageState.READY:
        wrong("/image", "image_not_ready", _("This image is not ready."))
    elif spec.flavor.disk_gib < spec.image.min_disk_gib:
        wrong("/flavor", "disk_too_small", _("This image needs a disk of %d GiB.") % spec.image.min_disk_gib)
    elif spec.flavor.memory_mib < spec.image.min_memory_mib:
        wrong("/flavor", "memory_too_small", _("This image needs %s of memory.") % mib_label(spec.image.min_memory_mib))
    if len(spec.networks) > 8 or len({network.pk for network in spec.networks}) != len(spec.networks):
        wrong("/networks", "invalid_networks", _("At most eight networks, each once."))
    if len(spec.user_data.encode("utf-8", "surrogatepass")) > USER_DATA_MAX:
        wrong("/user_data", "too_long", _("User-data may be 64 KiB long."))
    elif any(ord(c) < 32 and c not in "\n\r\t" or 0xD800 <= ord(c) <= 0xDFFF for c in spec.user_data):
        wrong("/user_data", "invalid_text", _("User-data must be plain text."))
    if len(spec.password) > PASSWORD_MAX or not spec.password.isprintable():
        wrong("/password", "invalid_password", _("At most %d printable characters.") % PASSWORD_MAX)
    if len(spec.ssh_keys) + len(spec.inline_keys) > 20:
        wrong("/ssh_keys", "too_many", _("At most twenty keys."))
    for number, key in enumerate(spec.inline_keys):
        try:
            key_parse(key, pointer=f"/ssh_keys/{number}")
        except Invalid as error:
            errors.extend(error.errors)
    errors += tag_errors(spec.tags)
    if errors:
        raise Invalid(errors=errors)


def tag_errors(tags: Iterable[str]) -> list[FieldError]:
    """What is wrong with tags, one by one."""
    found = [
        FieldError(f"/tags/{number}", "invalid_tag", _("A tag is small letters, digits, dots and hyphens, at most 32."))
        for number, tag in enumerate(tags)
        if not TAG.match(tag)
    ]
    if len(set(tags)) > 20:
        found.append(FieldError("/tags", "too_many", _("At most twenty tags.")))
    return found


def password_hash(password: str) -> str:
    """A crypt(3) SHA-512 hash that guests accept; empty stays empty.

    By ``openssl passwd``, which reads it from standard input: Python has no crypt(3) since 3.13.
    """
    if not password:
        return ""
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password + "\n", capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
