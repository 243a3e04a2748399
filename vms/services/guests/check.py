"""Is a spec usable? Every field that is not, at once; and the hashing of a first password."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from django.conf import settings
from django.utils.translation import gettext as _

from portal.core.errors import FieldError, Invalid
from portal.core.units import mib_label
from tenants.policy import MOST_TAGS, TAG
from vms.cloudinit import InvalidSeed, check_user_data
from vms.services.keys import key_parse
from vms.services.volumes.check import POSITIONS, limit_errors, name_errors, size_errors
from vms.specs import MOST_ON_A_CARD, NAME, PASSWORD_MAX, GuestSpec
from vms.states import ImageKind, ImageState, Init


def guest_spec_check(spec: GuestSpec) -> None:
    """Raise ``Invalid`` naming every field of ``spec`` that cannot be used."""
    errors = [*_name_errors(spec), *_size_errors(spec), *_text_errors(spec), *_key_errors(spec), *tag_errors(spec.tags)]
    errors += _volume_errors(spec)
    if len(spec.networks) > 8 or len({network.pk for network in spec.networks}) != len(spec.networks):
        errors.append(FieldError("/networks", "invalid_networks", _("At most eight networks, each once.")))
    if len(spec.groups) > MOST_ON_A_CARD:
        errors.append(FieldError("/security_groups", "invalid_groups", _("At most eight groups.")))
    if len(spec.ips) > max(1, len(spec.networks)) or (spec.count > 1 and any(spec.ips)):
        message = _("One address for each network at most, and only for a single machine.")
        errors.append(FieldError("/ips", "invalid_ips", message))
    if errors:
        raise Invalid(errors=errors)


def _name_errors(spec: GuestSpec) -> list[FieldError]:
    most = settings.CAPS["batch"]
    if not 1 <= spec.count <= most:
        return [FieldError("/count", "invalid_count", _("Between 1 and %d at once.") % most)]
    if not all(NAME.match(name) for name in spec.names()):
        message = _("Use small letters, digits and hyphens, at most 63, as for a host name.")
        return [FieldError("/name", "invalid_name", message)]
    return []


def _size_errors(spec: GuestSpec) -> list[FieldError]:
    flavor, image = spec.flavor, spec.image
    errors = [] if flavor.enabled else [FieldError("/flavor", "flavor_gone", _("This size is no longer offered."))]
    if image.state != ImageState.READY and spec.root is None:
        errors.append(FieldError("/image", "image_not_ready", _("This image is not ready.")))
    elif image.kind == ImageKind.DRIVERS:
        errors.append(FieldError("/image", "image_no_disk", _("Nothing is set up from a CD with drivers.")))
    elif spec.root_gib < image.min_disk_gib:
        message = _("This image needs a disk of %d GiB.") % image.min_disk_gib
        errors.append(FieldError("/flavor", "disk_too_small", message))
    elif flavor.memory_mib < image.min_memory_mib:
        message = _("This image needs %s of memory.") % mib_label(image.min_memory_mib)
        errors.append(FieldError("/flavor", "memory_too_small", message))
    if image.init == Init.NONE and (spec.ssh_keys or spec.inline_keys or spec.user_data or spec.password):
        message = _("Nothing in this image reads keys, user data or a password.")
        errors.append(FieldError("/image", "image_reads_nothing", message))
    if image.init == Init.CLOUDBASE_INIT and spec.password:
        message = _("This system takes no password with its first start; set one on its page, once its agent answers.")
        errors.append(FieldError("/password", "password_later", message))
    return errors


def _text_errors(spec: GuestSpec) -> list[FieldError]:
    errors = []
    try:
        check_user_data(spec.user_data, for_windows=spec.image.is_windows)
    except InvalidSeed as error:
        errors.append(FieldError("/user_data", "invalid_user_data", str(error)))
    if len(spec.password) > PASSWORD_MAX or not spec.password.isprintable():
        message = _("At most %d printable characters.") % PASSWORD_MAX
        errors.append(FieldError("/password", "invalid_password", message))
    return errors


def _volume_errors(spec: GuestSpec) -> list[FieldError]:
    if len(spec.volumes) > len(POSITIONS):
        return [FieldError("/volumes", "too_many", _("At most %d further volumes.") % len(POSITIONS))]
    errors = []
    for number, disk in enumerate(spec.volumes):
        wrong = [*name_errors(disk.name), *size_errors(disk), *limit_errors(disk.storage_class, disk.iops, disk.mbps)]
        errors += [FieldError(f"/volumes/{number}{fault.pointer}", fault.code, fault.message) for fault in wrong]
    return errors


def _key_errors(spec: GuestSpec) -> list[FieldError]:
    errors = []
    if len(spec.ssh_keys) + len(spec.inline_keys) > 20:
        errors.append(FieldError("/ssh_keys", "too_many", _("At most twenty keys.")))
    for number, key in enumerate(spec.inline_keys):
        try:
            key_parse(key, pointer=f"/ssh_keys/{number}")
        except Invalid as error:
            errors.extend(error.errors)
    return errors


def tag_errors(tags: Iterable[str]) -> list[FieldError]:
    """What is wrong with tags, one by one."""
    found = [
        FieldError(f"/tags/{number}", "invalid_tag", _("A tag is small letters, digits, dots and hyphens, at most 32."))
        for number, tag in enumerate(tags)
        if not TAG.match(tag)
    ]
    if len(set(tags)) > MOST_TAGS:
        found.append(FieldError("/tags", "too_many", _("At most twenty tags.")))
    return found


def password_hash(password: str) -> str:
    """A crypt(3) SHA-512 hash that guests accept; empty stays empty.

    By ``openssl passwd``, which reads it from standard input: Python has no crypt(3) since 3.13.
    """
    if not password:
        return ""
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=password + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()
