"""The settings of a real deployment: the embedded ones, behind TLS, with PostgreSQL, and nothing left to a default."""

from __future__ import annotations

from portal.settings.embedded import *  # noqa: F403
from portal.settings.embedded import PUBLIC_URL
from portal.settings.env import env

if not PUBLIC_URL.startswith("https://"):
    raise RuntimeError("GUESTHOUSE_PUBLIC_URL must begin with https:// in production")
DATABASES = {
    "default": {
        **env.db("DATABASE_URL"),
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"pool": {"min_size": 0, "max_size": 12, "timeout": 3}},
    }
}
TRUSTED_PROXIES = env.int("GUESTHOUSE_TRUSTED_PROXIES", default=1)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 31536000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
OPERATORS_NEED_SECOND_FACTOR = env.bool("GUESTHOUSE_OPERATORS_NEED_SECOND_FACTOR", default=True)
