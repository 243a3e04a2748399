"""The settings ``bin/up`` runs with: everything from the environment it prepares, SQLite and a private Redis by default."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlsplit

from portal.core.logs import configure as _configure_logs
from portal.settings.base import *  # noqa: F403
from portal.settings.base import content_policy
from portal.settings.env import BASE_DIR, env, mailer, read_secrets

STATE_DIR = Path(env("GUESTHOUSE_STATE", default=str(BASE_DIR / "var"))).resolve()
_secrets = read_secrets(Path(env("GUESTHOUSE_SECRET_FILE", default=str(STATE_DIR / "secrets.json"))))
SECRET_KEY = _secrets.secret_key
FIELD_KEYS = _secrets.field_keys
INSTALLATION_ID = _secrets.installation
DEBUG = False

PUBLIC_URL = env("GUESTHOUSE_PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
CONSOLE_URL = env("GUESTHOUSE_CONSOLE_URL", default="ws://127.0.0.1:8001").rstrip("/")
CONSOLE_BIND = env("GUESTHOUSE_CONSOLE_BIND", default="127.0.0.1:8001")
DATA_DIR = Path(env("GUESTHOUSE_DATA_DIR", default=f"/var/lib/guesthouse/{INSTALLATION_ID}"))
RUN_DIR = Path(env("GUESTHOUSE_RUN_DIR", default=f"/run/guesthouse/{INSTALLATION_ID[:8]}"))
TRUSTED_PROXIES = env.int("GUESTHOUSE_TRUSTED_PROXIES", default=0)
"""How many of our own reverse proxies a request comes through; that many entries of X-Forwarded-For are believed."""
RESERVED_NETWORKS = env.list("GUESTHOUSE_RESERVED_NETWORKS", default=[])
LIBVIRT_URI = env("GUESTHOUSE_LIBVIRT_URI", default="qemu:///system")

_public = urlsplit(PUBLIC_URL)
_https = _public.scheme == "https"
ALLOWED_HOSTS = [_public.hostname or "127.0.0.1", *env.list("GUESTHOUSE_ALLOWED_HOSTS", default=[])]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_CSP = content_policy(CONSOLE_URL)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_NAME = "__Host-guesthouse" if _https else f"guesthouse-{_public.port or 80}"
CSRF_COOKIE_NAME = "__Host-guesthouse-csrf" if _https else f"guesthouse-csrf-{_public.port or 80}"

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{STATE_DIR}/db.sqlite3")}
if "sqlite" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=30000;",
    }
else:
    DATABASES["default"].update(
        {
            "CONN_MAX_AGE": 0,
            "CONN_HEALTH_CHECKS": True,
            "OPTIONS": {"pool": {"min_size": 0, "max_size": 12, "timeout": 3}},
        }
    )

REDIS_URL = env("REDIS_URL", default=f"unix://{RUN_DIR}/redis.sock")
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1) if REDIS_URL.startswith("unix://") else REDIS_URL
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_timeout": 3, "socket_connect_timeout": 3},
    }
}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}
OPERATORS_NEED_SECOND_FACTOR = env.bool("GUESTHOUSE_OPERATORS_NEED_SECOND_FACTOR", default=False)
STATIC_ROOT = STATE_DIR / "static"
MAILERS = {"default": mailer(STATE_DIR / "mail")}
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default=f"guesthouse@{_public.hostname or 'localhost'}")
LOGGING_CONFIG = None
_configure_logs(sys.stderr)
