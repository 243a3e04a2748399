"""Forms about a tenant and its people."""
