"""Pages, styles and scripts keep the promises that no single page test can see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage
from django.core.management import call_command
from django.template.loader import get_template

from portal.core.staticfiles import Storage

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static" / "js").glob("*.js"))
ICONS = set((ROOT / "static" / "glyphs" / "tabler.txt").read_text().split())


class Hashed(ManifestStaticFilesStorage):
    """The portal's storage without its compression, which takes most of its time."""

    support_js_module_import_aggregation = Storage.support_js_module_import_aggregation


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_template_compiles(path):
    get_template(str(path.relative_to(ROOT / "templates")))


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_nothing_in_a_template_needs_an_unsafe_policy(path):
    text = path.read_text()

    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:|<style|hx-on|js:", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r'hx-trigger="[^"]*\[', text), "a trigger's filter is compiled at run time"


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_icon_in_a_template_is_in_the_sprite(path):
    drawn = set(re.findall(r'{% icon "([a-z0-9-]+)"', path.read_text()))

    assert drawn <= ICONS


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_static_file_a_template_names_is_there(path):
    asked = re.findall(r"""{% static ['"]([^'"]+)['"] %}""", path.read_text())

    assert [name for name in asked if finders.find(name) is None] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_a_script_has_one_purpose_and_leaves_no_global(path):
    text = path.read_text()

    assert len(text.splitlines()) <= 150
    assert not re.search(r"\b(?:window|globalThis)\.\w+\s*=(?!=)", text)
    assert not re.search(r"\beval\(|new Function|innerHTML|insertAdjacentHTML|document\.write", text)


def test_every_script_finds_its_imports_under_hashed_names(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": f"{__name__}.Hashed"}}

    call_command("collectstatic", interactive=False, verbosity=0)

    for script in (tmp_path / "js").glob("*.????????????.js"):
        for path in re.findall(r"""(?:from|import)\s*["'](\.[^"']+)["']""", script.read_text()):
            assert re.search(r"\.[0-9a-f]{12}\.m?js$", path), f"{script.name} imports {path}"
            assert (script.parent / path).is_file()


def test_the_front_end_lock_file_names_no_host():
    assert "://" not in (ROOT / "package-lock.json").read_text()
    assert "registry" not in (ROOT / ".npmrc").read_text().replace("omit-lockfile-registry-resolved=true", "")
