"""What ``bin/up``, ``bin/down`` and ``bin/manage`` do once there is a Python environment; knows nothing of Django."""
