"""The operators' pages of billing."""

from billing.admin import prices

__all__ = ["prices"]
