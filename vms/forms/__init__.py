"""Forms that end in a spec: what a person asked for, ready for a service."""
