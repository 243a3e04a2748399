"""The provider's process: ``python -m tests.support.openid_provider JSON``; says its port when it listens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

WISH: dict[str, Any] = json.loads(sys.argv[1]) if __name__ == "__main__" else {}


def configure(place: Path) -> None:
    """Settings of a small Django site that is nothing but a provider."""
    from django.conf import settings

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    settings.configure(
        SECRET_KEY="provider",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(place / "provider.sqlite3")}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "allauth",
            "allauth.account",
            "allauth.idp.oidc",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "allauth.account.middleware.AccountMiddleware",
        ],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        SESSION_COOKIE_NAME="provider",
        USE_TZ=True,
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # the portal waits five seconds at most
        IDP_OIDC_ADAPTER=f"{__name__}.Adapter",
        IDP_OIDC_PRIVATE_KEY=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


class Server(ThreadingMixIn, WSGIServer):
    """One thread a request: the portal asks while a browser waits."""

    daemon_threads = True


class Silent(WSGIRequestHandler):
    """Writes no log."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the library's name for it)
        """Nothing."""


if __name__ == "__main__":
    import django

    configure(Path(WISH["place"]))
    django.setup()

    from allauth.idp.oidc.adapter import DefaultOIDCAdapter
    from allauth.idp.oidc.models import Client
    from django.contrib.auth import get_user_model, login
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import include, path

    class Adapter(DefaultOIDCAdapter):
        """Claims whatever the test says, true or not; under ``id_token`` and ``userinfo`` what is said only there."""

        def get_claims(self, purpose: Any, user: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
            said = WISH["people"][user.username]
            return {"sub": str(user.pk), **said, **said.get(purpose, {})}

    def enter(request: HttpRequest, name: str) -> HttpResponse:
        """Sign a person in, without any question."""
        user = get_user_model().objects.get(username=name)
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        return HttpResponse(f"<p>{name} is signed in.</p>")

    urlpatterns = [
        path("enter/<str:name>", enter),
        path("account/", include("allauth.account.urls")),
        path("", include("allauth.idp.urls")),
    ]
    call_command("migrate", verbosity=0)
    for name in WISH["people"]:
        get_user_model().objects.get_or_create(username=name)
    client = Client(id=WISH["client"], name="portal", scopes="openid\nprofile\nemail", skip_consent=True)
    client.set_secret(WISH["secret"])
    client.set_redirect_uris([WISH["callback"]])
    client.save()
    server = make_server("127.0.0.1", 0, get_wsgi_application(), Server, Silent)
    print(f"port {server.server_address[1]}", flush=True)
    server.serve_forever()
