"""The journal: audit entries, events and usage intervals, written by services in their own transaction."""
