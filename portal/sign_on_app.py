"""Makes single sign-on's providers wait until pages are served."""

from allauth.socialaccount.apps import SocialAccountConfig


class SignOnConfig(SocialAccountConfig):  # type: ignore[misc]
    """Leaves the providers to ``allauth.urls``, which asks the registry for them: ``portal/urls.py`` reads it.

    The stock configuration reads them wherever Django runs; workers and watcher would keep seven megabytes each of a client
    for HTTP with which they never ask anybody.
    """

    def ready(self) -> None:
        from allauth.socialaccount import checks  # noqa: F401  (registers them)
