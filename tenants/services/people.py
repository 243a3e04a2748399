"""People who can sign in, as operators make them."""

from __future__ import annotations

import secrets

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.models import User
from tenants.policy import Permission


def password_make() -> str:
    """A random password of 120 bits, easy to copy."""
    return secrets.token_urlsafe(15)


@transaction.atomic
def user_create(*, email: str, password: str, actor: Actor, name: str = "", operator: bool = False) -> User:
    """A person with a verified address; ``operator`` runs the installation."""
    actor.require(Permission.OPERATE)
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise Invalid(errors=[FieldError("/email", "invalid_email", error.messages[0])]) from error
    try:
        with transaction.atomic():
            user = User.objects.create_user(email, password, name=name, is_staff=operator, is_superuser=operator)
    except IntegrityError as error:
        raise Conflict(_("Somebody with this address exists."), code="email_taken", hint="") from error
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    audit_record(actor, "person.create", user, email=email, operator=operator)
    return user
