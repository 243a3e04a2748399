"""What every deployment shares. What differs (keys, database, addresses) is in the module of each deployment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils.csp import CSP

from portal.settings.env import BASE_DIR, env

INSTALLED_APPS = [
    "portal.admin_app.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "portal.sign_on_app.SignOnConfig",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "channels",
    "portal",
    "tenants",
    "operations",
    "vms",
    "billing",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.core.middleware.RequestIdMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "portal.core.middleware.PortalErrorMiddleware",
    "tenants.middleware.LoginRequiredMiddleware",
    "tenants.middleware.TenantMiddleware",
]

ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
WSGI_APPLICATION = "portal.wsgi.application"

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.csp",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.shell",
            ],
        },
    }
]

AUTH_USER_MODEL = "tenants.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
    {"NAME": "portal.core.passwords.MaximumLengthValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "tenants:home"
LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_ADAPTER = "tenants.accounts.adapters.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "tenants.accounts.forms.LoginForm",
    "reset_password": "tenants.accounts.forms.ResetPasswordForm",
    "change_password": "tenants.accounts.forms.ChangePasswordForm",
    "set_password": "tenants.accounts.forms.SetPasswordForm",
    "reset_password_from_key": "tenants.accounts.forms.ResetPasswordKeyForm",
}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_USER_MODEL_EMAIL_FIELD = "email"
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
PASSWORD_RESET_TIMEOUT = 3600
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {
    "login_failed": "10/m/ip,5/5m/key",
    "login_failed_anywhere": "100/h/key",
    "login": "60/m/ip",
    "single_sign_on": "20/m/ip",
}
MFA_ADAPTER = "tenants.accounts.adapters.SecondFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_FORMS = {
    "authenticate": "tenants.accounts.forms.CodeForm",
    "reauthenticate": "tenants.accounts.forms.CodeAgainForm",
    "add_webauthn": "tenants.accounts.forms_passkeys.AddPasskeyForm",
    "edit_webauthn": "tenants.accounts.forms_passkeys.RenamePasskeyForm",
    "authenticate_webauthn": "tenants.accounts.forms_passkeys.SecondStepForm",
    "login_webauthn": "tenants.accounts.forms_passkeys.SignInForm",
    "reauthenticate_webauthn": "tenants.accounts.forms_passkeys.AgainForm",
}
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True
SOCIALACCOUNT_ADAPTER = "tenants.accounts.single_sign_on.SingleSignOnAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True}}
USERSESSIONS_ADAPTER = "tenants.accounts.adapters.UserSessionsAdapter"
USERSESSIONS_TRACK_ACTIVITY = False

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English")]
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "portal.core.staticfiles.Storage"},
}
WHITENOISE_MANIFEST_STRICT = True

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_USE_SESSIONS = False
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"


def content_policy(console_url: str) -> dict[str, Any]:
    """The Content-Security-Policy: our own files, our own sockets, and the console proxy's address; nothing inline."""
    return {
        "default-src": [CSP.NONE],
        "script-src": [CSP.SELF],
        "style-src": [CSP.SELF],
        "img-src": [CSP.SELF, "data:", "blob:"],
        "font-src": [CSP.SELF],
        "connect-src": [CSP.SELF, console_url],
        "form-action": [CSP.SELF],
        "base-uri": [CSP.NONE],
        "frame-ancestors": [CSP.NONE],
        "manifest-src": [CSP.SELF],
    }


# --- Celery: json only, ids only, late acknowledgement; the Operation row is the truth ---------------------------
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_TASK_TIME_LIMIT = 3600
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "max_retries": 0,  # who rings does not wait for a Redis that is away: a sweep rings again
    "socket_timeout": 1.0,
    "socket_connect_timeout": 1.0,
    "socket_keepalive": True,
    "health_check_interval": 10,  # a worker on a dead line looks for a new one after about twice that
}
CELERY_TIMEZONE = "UTC"

# --- the portal's own settings ---------------------------------------------------------------------------------
OPERATION_LEASE_S = 15
OPERATION_STUCK_S = 60
OPERATION_RETRY_MAX_S = 30
LANE_WIDTH = 3
LONG_AT_ONCE = max(1, env.int("GUESTHOUSE_LONG_AT_ONCE", default=2))
"""How many copies, backups and the like run at once, everywhere: leave some of all workers' processes for the rest."""
HOST_SUSPECT_AFTER_S = 10
HOST_DOWN_AFTER_S = 20
EVENT_RETENTION = timedelta(days=7)
AUDIT_RETENTION = timedelta(days=730)
CLOSING_GRACE = timedelta(days=30)
IDEMPOTENCY_RETENTION = timedelta(hours=24)
OPERATION_RETENTION = timedelta(days=365)
IMAGE_COPY_KEEP = timedelta(days=30)
"""How long a host keeps the copy of an image that no disk there is made of."""
UPLOAD_KEEP = timedelta(hours=24)
"""How long an image's upload waits for its next bytes."""
EXPORT_KEEP = timedelta(hours=24)
"""How long the file of an exported disk waits to be fetched."""
EXPORT_RECORD_KEEP = timedelta(days=7)
"""How long it is shown that there was one."""
EXPORT_ROOM_GIB = 500
"""How much of the portal's own storage all such files may take together; one project at most half of it."""
TENANT_NETWORK_SUPERNET = "10.128.0.0/9"
TENANT_NETWORK_PREFIX = 24
RESERVED_NETWORKS: list[str] = []
"""IPv4 ranges that no tenant may draw a network over: the operator's own."""
API_RATE_PER_MINUTE = 600
API_TENANT_RATE_PER_MINUTE = 3000
NOTICE_RETENTION = timedelta(days=90)
LETTER_RETENTION = timedelta(days=30)
METRIC_RETENTION = {1: timedelta(hours=25), 15: timedelta(days=31), 60: timedelta(days=366)}
"""How long what machines used is kept, by the minutes that one figure stands for."""
CAPS = {
    "ssh_keys": 100,
    "tokens": 100,
    "members": 200,
    "invitations": 100,
    "roles": 50,
    "quota_requests": 10,
    "tags": 50,
    "power_schedules": 10,
    "backup_schedules": 20,
    "security_groups": 100,
    "placement_groups": 50,
    "images": 100,
    "image_tests": 4,
    "disk_exports": 20,
    "disk_exports_at_once": 2,
    "batch": 20,
    "sign_ins": 50,
}
DEFAULT_QUOTA = {
    "guests": 10,
    "vcpus": 20,
    "memory_mib": 32768,
    "disk_gib": 500,
    "networks": 5,
    "addresses": 50,
    "volumes": 20,
    "snapshots": 50,
    "running_guests": None,
    "backups_gib": 500,
    "images": 20,
    "images_gib": 100,
    "ports": None,
    "public_addresses": 5,
    "security_group_rules": 200,
    "guest_vcpus": None,
    "guest_memory_mib": None,
    "guest_disk_gib": None,
    "guest_ports": None,
    "guest_volumes": None,
    "guest_snapshots": 16,
    "guest_creates_per_day": None,
}
QUOTA_GRACE = timedelta(days=7)
"""How long a tenant may stay above a soft limit before it binds."""
