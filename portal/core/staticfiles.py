"""Static files under hashed names, JavaScript modules' imports included."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class Storage(CompressedManifestStaticFilesStorage):
    """Hashed and compressed; the ES modules' import paths are rewritten too."""

    support_js_module_import_aggregation = True
    manifest_strict = True
