"""REST: people, tenants, tokens, quota and the journal."""
