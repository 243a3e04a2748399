"""Paths on a host, as text: nothing here looks at a file system."""

from __future__ import annotations

import posixpath


def is_below(path: str, folders: tuple[str, ...]) -> bool:
    """Whether ``path`` is absolute, already in normal form, and inside one of ``folders`` (never a folder itself)."""
    if not path.startswith("/") or posixpath.normpath(path) != path:
        return False
    normal = (posixpath.normpath(folder) for folder in folders if folder.startswith("/"))
    return any(folder != "/" and path.startswith(folder + "/") for folder in normal)
