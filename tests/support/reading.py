"""What a person could read in an answer, whatever it is made of."""

from __future__ import annotations

from io import BytesIO

from pypdf import PdfReader


def words_in(body: bytes) -> str:
    """The text of a body; of a PDF, which is compressed, that of its pages and of what it says of itself."""
    if not body.startswith(b"%PDF-"):
        return body.decode()
    document = PdfReader(BytesIO(body))
    pages = [page.extract_text() for page in document.pages]
    assert any(pages), "nothing can be read in it"
    return "\n".join([*pages, str(document.metadata)])
