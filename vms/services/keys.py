"""SSH keys of a tenant."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.journal.ledger import journal_lock
from tenants.models import Tenant
from tenants.policy import Permission
from vms.models import SshKey

TYPES: Final = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
LONGEST: Final = 8192


def key_parse(text: str, *, pointer: str = "/public_key") -> tuple[str, str]:
    """``TYPE BASE64`` without options or comment, and its ``SHA256:…`` fingerprint; raises ``Invalid``."""
    refusal = Invalid(errors=[FieldError(pointer, "invalid_key", _("This is not an OpenSSH public key."))])
    parts = text.strip().split(None, 2)
    if len(text) > LONGEST or "\n" in text.strip() or "\r" in text.strip() or len(parts) < 2 or parts[0] not in TYPES:
        raise refusal
    kind, body = parts[0], parts[1]
    try:
        blob = base64.b64decode(body, validate=True)
        if not blob.startswith(len(kind).to_bytes(4) + kind.encode()):
            raise refusal
        if not kind.startswith("sk-"):
            load_ssh_public_key(f"{kind} {body}".encode())
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise refusal from error
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"{kind} {body}", f"SHA256:{digest}"


@transaction.atomic
def key_create(tenant: Tenant, *, name: str, public_key: str, actor: Actor) -> SshKey:
    """Keep a public key for machines to be made with; its comment and options are dropped."""
    actor.require(Permission.KEY_MANAGE)
    name = name.strip()
    if not name or len(name) > 64 or not name.isprintable():
        raise Invalid(errors=[FieldError("/name", "invalid_name", _("A name of at most 64 characters is needed."))])
    clean, fingerprint = key_parse(public_key)
    journal_lock(tenant)  # which every change of keys writes: two who are at the cap take turns
    if SshKey.objects.count() >= settings.CAPS["ssh_keys"]:
        raise Conflict(_("This project has as many keys as it can have."), code="too_many_keys", hint="")
    try:
        with transaction.atomic():
            key = SshKey.objects.create(tenant=tenant, name=name, public_key=clean, fingerprint=fingerprint)
    except IntegrityError as error:
        raise Conflict(_("This key, or one with this name, is there already."), code="key_exists", hint="") from error
    audit_record(actor, "key.create", key, fingerprint=fingerprint)
    event_append(tenant, "key.changed", "key", key.pk)
    return key


@transaction.atomic
def key_delete(key: SshKey, *, actor: Actor) -> None:
    """Forget a key; machines made with it keep it."""
    actor.require(Permission.KEY_MANAGE, key)
    audit_record(actor, "key.delete", key, fingerprint=key.fingerprint)
    event_append(key.tenant, "key.changed", "key", key.pk)
    key.delete()
