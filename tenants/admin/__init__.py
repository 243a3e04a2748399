"""The operators' pages of tenants and people, one module per noun."""

from tenants.admin import audit, letters, people, quota_requests, sign_in, tenants, tokens

__all__ = ["audit", "letters", "people", "quota_requests", "sign_in", "tenants", "tokens"]
