"""What can be wrong with an image, with a code and a sentence that the person who brought it may read.

``detail`` is for operators and logs: it may hold paths and the words of programs.
"""

from __future__ import annotations


class DiskError(Exception):
    """Base of everything this package refuses."""

    code = "image_error"

    def __init__(self, sentence: str, *, code: str = "", detail: str = "") -> None:
        super().__init__(sentence if not detail else f"{sentence} ({detail})")
        self.sentence = sentence
        self.detail = detail
        if code:
            self.code = code


class UnsafeImage(DiskError):
    """The file is not an image we take: wrong format, reaches for other files, damaged, or absurd in size."""

    code = "image_unsafe"


class ConversionFailed(DiskError):
    """Reading the image went wrong or cost more than it may."""

    code = "image_conversion_failed"


class FetchRefused(DiskError):
    """The address is none we go to: no request was made to it."""

    code = "url_refused"


class FetchFailed(DiskError):
    """The download did not give what was promised; nothing of it is kept."""

    code = "download_failed"


class BuildFailed(DiskError):
    """A build script ended with an error; ``detail`` holds its last words."""

    code = "build_failed"
