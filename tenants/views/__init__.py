"""Pages about a tenant itself: which one, its people, tokens, limits, log and settings."""
