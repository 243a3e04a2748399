"""A statement as people print it: PDF, the same bytes for the same statement."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.contrib.staticfiles import finders
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from fpdf import FPDF
from fpdf.enums import TableBordersLayout, XPos, YPos

from billing.meters import METERS
from billing.models import METER_LABELS

FONT: Final = "DejaVu"
FILES: Final = {"": "vendor/dejavu/DejaVuSans.ttf", "B": "vendor/dejavu/DejaVuSans-Bold.ttf"}
"""Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew and Arabic letters; others are drawn as boxes."""
WIDTHS: Final = (76, 46, 30, 30)
GREY: Final = 110


class Paper(FPDF):
    """A4, with each page's number at its foot."""

    def footer(self) -> None:
        """Its number; how many there are would be put in place of a word that a name may hold, too."""
        self.set_y(-15)
        self.set_font(FONT, size=8)
        self.set_text_color(GREY)
        self.cell(0, 8, str(self.page_no()), align="R")


def as_pdf(statement: Mapping[str, Any], *, name: str) -> bytes:
    """``statement`` (as REST answers it) of the tenant called ``name``; words are text, whatever they hold."""
    since = datetime.fromisoformat(statement["from"])
    paper = Paper(format="A4")
    paper.set_creation_date(datetime.fromisoformat(statement["to"]))
    paper.set_producer("Guesthouse")
    paper.alias_nb_pages("")
    for style, path in FILES.items():
        paper.add_font(FONT, style, _file(path))
    title = _("Statement of %s") % date_format(since, "F Y")
    paper.set_title(title)
    paper.set_margins(14, 16)
    paper.add_page()
    _head(paper, statement, title, name)
    if statement["lines"]:
        _lines(paper, statement)
    else:
        _say(paper, _("Nothing that has a price was used."))
    _say(paper, _("Each line is rounded once, half a coin up; the total is the sum of the lines as they stand here."))
    if statement.get("taxes"):
        _say(paper, _("Tax is rounded once for each rate, half a coin up."))
    return bytes(paper.output())


def _head(paper: FPDF, statement: Mapping[str, Any], title: str, name: str) -> None:
    paper.set_font(FONT, "B", 16)
    paper.cell(0, 10, title, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    paper.set_font(FONT, "B", 10)
    paper.multi_cell(0, 6, _printable(name), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    state = _("final") if statement["state"] == "final" else _("not final yet")
    _say(paper, f"{statement['tenant']} · {statement['from'][:10]} – {statement['to'][:10]} (UTC) · {state}")
    paper.ln(3)


def _lines(paper: FPDF, statement: Mapping[str, Any]) -> None:
    paper.set_font(FONT, size=9)
    paper.set_text_color(0)
    align = ("LEFT", "RIGHT", "RIGHT", "RIGHT")
    layout = TableBordersLayout.HORIZONTAL_LINES
    with paper.table(
        col_widths=WIDTHS, text_align=align, borders_layout=layout, line_height=6, markdown=False
    ) as table:
        table.row([_("What"), _("Used"), _("For one, an hour"), _("Amount")])
        for line in statement["lines"]:
            table.row(_cells(line))
        for label, amount in sums_of(statement):
            table.row([label, "", "", amount])
    paper.ln(3)


def sums_of(statement: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What stands below the lines: the total, or where there is tax the sum without it, the tax and the sum with it."""
    taxes = statement.get("taxes") or []
    first = _("Total without tax") if taxes else _("Total")
    found = [(first, f"{each['currency']} {each['amount']}") for each in statement["totals"]]
    for each in taxes:
        label = _("%(percent)s %% tax on %(currency)s %(net)s") % each
        found.append((label, f"{each['currency']} {each['amount']}"))
    return found + [(_("To pay"), f"{each['currency']} {each['amount']}") for each in statement.get("gross") or []]


def _cells(line: Mapping[str, str]) -> list[str]:
    what = f"{METER_LABELS[line['meter']]} {_printable(line['word'])}".strip()
    if line["kind"] == "correction":
        what = _("Correction: %s") % what
    used = _("%(used)s %(unit)s hours") % {"used": line["unit_hours"], "unit": METERS[line["meter"]].unit}
    return [what, used, f"{line['currency']} {line['price']}", f"{line['currency']} {line['amount']}"]


def _say(paper: FPDF, text: str) -> None:
    paper.set_font(FONT, size=9)
    paper.set_text_color(GREY)
    paper.multi_cell(0, 6, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _printable(text: str) -> str:
    """Without what is no letter: a name is one line."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _file(path: str) -> str:
    found = finders.find(path)
    if not isinstance(found, str):
        raise FileNotFoundError(path)
    return found
