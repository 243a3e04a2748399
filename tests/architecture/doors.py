"""Every way in that is neither REST (``permissions``) nor a page of ours (``pages``): who may use it.

With those two and ``work`` this is the policy of the whole house; ``test_policy_is_whole`` holds it against what is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver

from tenants.policy import Permission


class Who(StrEnum):
    """Whom an address lets in."""

    ANYBODY = "anybody: it leads in, or shows what is public"
    MACHINES = "who watches the installation, from outside of it"
    TOKEN = "whoever has a living token; everything else there is 404"
    SIGNED_IN = "who is signed in, about themselves alone"
    OPERATORS = "operators in a browser; to everybody else who is signed in it is not there"
    OPERATORS_TOKENS = "whoever has an operator's token"
    NOBODY = "nobody, operators neither"


ROUTES = {
    "healthz": Who.MACHINES,
    "readyz": Who.MACHINES,
    "metrics": Who.OPERATORS_TOKENS,
    "api/v1/docs": Who.ANYBODY,
    "api/v1/openapi.json": Who.ANYBODY,
    "api/v1/": Who.TOKEN,
    "api/v1/<path:rest>": Who.TOKEN,
    # signing in and out, and what leads there
    "account/login/": Who.ANYBODY,
    "account/logout/": Who.ANYBODY,
    "account/inactive/": Who.ANYBODY,
    "account/signup/": Who.ANYBODY,
    "account/reauthenticate/": Who.ANYBODY,
    "account/confirm-email/": Who.ANYBODY,
    "account/login/code/confirm/": Who.ANYBODY,
    "account/password/set/": Who.ANYBODY,
    "account/password/reset/": Who.ANYBODY,
    "account/password/reset/done/": Who.ANYBODY,
    "account/password/reset/key/done/": Who.ANYBODY,
    r"account/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$": Who.ANYBODY,
    "account/2fa/authenticate/": Who.ANYBODY,
    "account/2fa/webauthn/login/": Who.ANYBODY,
    "account/sign-on/": Who.ANYBODY,
    "account/sign-on/<slug:provider_id>/": Who.ANYBODY,
    "account/oidc/<slug:provider_id>/login/": Who.ANYBODY,
    r"account/oidc/^(?P<provider_id>[^/]+)/login/": Who.ANYBODY,
    r"account/oidc/^(?P<provider_id>[^/]+)/login/callback/": Who.ANYBODY,
    "account/3rdparty/login/cancelled/": Who.ANYBODY,
    "account/3rdparty/login/error/": Who.ANYBODY,
    "account/3rdparty/signup/": Who.ANYBODY,
    "account/social/login/cancelled/": Who.ANYBODY,
    "account/social/login/error/": Who.ANYBODY,
    "account/social/signup/": Who.ANYBODY,
    # one's own account
    "account/profile/": Who.SIGNED_IN,
    "account/email/": Who.SIGNED_IN,
    "account/password/change/": Who.SIGNED_IN,
    "account/sessions/": Who.SIGNED_IN,
    "account/sessions/<int:session_id>/end/": Who.SIGNED_IN,
    "account/2fa/": Who.SIGNED_IN,
    "account/2fa/reauthenticate/": Who.SIGNED_IN,
    "account/2fa/totp/activate/": Who.SIGNED_IN,
    "account/2fa/totp/deactivate/": Who.SIGNED_IN,
    "account/2fa/recovery-codes/": Who.SIGNED_IN,
    "account/2fa/recovery-codes/generate/": Who.SIGNED_IN,
    "account/2fa/recovery-codes/download/": Who.SIGNED_IN,
    "account/2fa/webauthn/": Who.SIGNED_IN,
    "account/2fa/webauthn/add/": Who.SIGNED_IN,
    "account/2fa/webauthn/reauthenticate/": Who.SIGNED_IN,
    "account/2fa/webauthn/keys/<int:pk>/remove/": Who.SIGNED_IN,
    "account/2fa/webauthn/keys/<int:pk>/edit/": Who.SIGNED_IN,
    "account/3rdparty/": Who.SIGNED_IN,
    "account/social/connections/": Who.SIGNED_IN,
    # the operators' site, besides what each of its models has
    "operator/": Who.OPERATORS,
    "operator/catalogue/": Who.OPERATORS,
    "operator/revenue/": Who.OPERATORS,
    "operator/login/": Who.ANYBODY,
    "operator/logout/": Who.OPERATORS,
    "operator/password_change/": Who.OPERATORS,
    "operator/password_change/done/": Who.OPERATORS,
    "operator/autocomplete/": Who.OPERATORS,
    "operator/jsi18n/": Who.OPERATORS,
    "operator/r/<path:content_type_id>/<path:object_id>/": Who.OPERATORS,
    r"operator/^(?P<app_label>admin|tenants|socialaccount|operations|vms|billing)/$": Who.OPERATORS,
    r"operator/(?P<url>.*)$": Who.OPERATORS,
}
"""By the pattern of the address; the pages of the rooms stand in ``pages``, REST's in ``permissions``, a model's below."""

SITE_PAGES = {
    "": Who.OPERATORS,
    "add/": Who.OPERATORS,
    "<path:object_id>/": Who.OPERATORS,
    "<path:object_id>/change/": Who.OPERATORS,
    "<path:object_id>/history/": Who.OPERATORS,
    "<path:object_id>/delete/": Who.NOBODY,
    "<path:object_id>/do/<slug:name>/": Who.OPERATORS,
}
"""What each model on the operators' site has, and nothing else; what a change page is sent is for nobody."""

SITE: dict[str, tuple[str, ...]] = {
    "admin.logentry": (),
    "operations.operation": ("retry", "cancel"),
    "socialaccount.socialapp": ("create", "edit", "look", "switch_off", "switch_on", "remove"),
    "tenants.apitoken": ("revoke",),
    "tenants.auditentry": (),
    "tenants.installationentry": (),
    "tenants.letter": ("send_again",),
    "tenants.member": (),
    "tenants.quotarequest": ("approve", "decline"),
    "tenants.signindomain": ("create", "edit", "remove"),
    "tenants.tenant": ("create", "welcome", "quota", "suspend", "unsuspend", "close", "reopen"),
    "tenants.user": ("add", "new_password"),
    "billing.price": ("withdraw",),
    "billing.pricelist": ("add", "make_default", "set_price"),
    "vms.addressuse": (),
    "vms.backupstore": ("add", "edit"),
    "vms.drift": (),
    "vms.fabric": ("add", "edit", "test"),
    "vms.flavor": ("add", "edit"),
    "vms.guest": ("start", "shutdown", "stop"),
    "vms.host": ("enrol", "test", "dedicate", "maintain", "release"),
    "vms.hostpool": ("add", "edit"),
    "vms.imagecopy": ("evict",),
    "vms.image": ("fetch", "test", "deprecate", "offer", "delete"),
    "vms.storageclass": ("add", "edit"),
    "vms.storagepool": ("add", "prepare", "close", "open", "remove"),
}
"""By model: its deeds, each for operators alone; the service behind a deed asks once more."""


class Line(NamedTuple):
    """A WebSocket: its address, what answers there, and what whoever opens it must hold in the tenant of its address."""

    address: str
    consumer: str
    permission: Permission


LINES = [Line("ws/t/<slug:tenant>/events", "EventConsumer", Permission.EVENT_VIEW)]

GROUPS = {
    (
        "operations/consumers.py",
        "tenant_group(self.tenant)",
    ): "a tenant's events; joined after EVENT_VIEW there is seen",
    (
        "operations/consumers.py",
        "ACCESS_GROUP",
    ): "that somebody's access ended; joined by every open page, told to none",
    ("operations/waiting.py", "OPERATIONS_GROUP.format(pk)"): (
        "that an operation moved on, and not how; whoever waits is answered by REST, which asks for OPERATION_VIEW"
    ),
}
"""Every group of the channel layer by the place that joins it: what is said there and who hears it."""

CONSOLES = {"vnc": Permission.GUEST_CONSOLE, "serial": Permission.GUEST_CONSOLE}
"""What a console's one-time ticket may open; asked when it is made, and void by any revocation after that."""

TICKETS = {"vms/services/consoles.py": "issue", "vms/consoles/websockify_plugin.py": "redeem"}
"""The one place that makes tickets and the one that takes them."""


def addresses(resolver: Any = None, prefix: str = "", space: str = "") -> Iterator[tuple[str, str]]:
    """The pattern of every address there is, and the name of its route."""
    for route in (resolver or get_resolver()).url_patterns:
        pattern = prefix + str(route.pattern)
        if isinstance(route, URLResolver):
            yield from addresses(route, pattern, route.namespace or space)
        else:
            assert isinstance(route, URLPattern)
            yield pattern, f"{space}:{route.name}" if space else str(route.name)
