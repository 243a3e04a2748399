"""The operators' pages of tenants and people, one module per noun."""

from tenants.admin import audit, people, tenants, tokens

__all__ = ["audit", "people", "tenants", "tokens"]
