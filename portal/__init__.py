"""The Django project: wiring at the top, vocabulary at the bottom (``portal.core``)."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
