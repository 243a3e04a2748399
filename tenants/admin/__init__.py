"""The operators' pages of tenants and people, one module per noun."""

from tenants.admin import audit, letters, people, tenants, tokens

__all__ = ["audit", "letters", "people", "tenants", "tokens"]
