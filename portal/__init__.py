"""The Django project: wiring at the top, vocabulary at the bottom (``portal.core``)."""
