"""Templates of pages: found in the package, strict, escaping; texts made printable."""

from __future__ import annotations

import jinja2
import pytest

from faceflow.pages import asset, printable, template

TEMPLATES = [
    ("faceflow.explain", "templates/page.html.j2"),
    ("faceflow.evaluation.report", "page.html.j2"),
    ("faceflow.demo", "page.html.j2"),
]


@pytest.mark.parametrize(("package", "name"), TEMPLATES)
def test_templates_are_strict_and_escape(package: str, name: str) -> None:
    page = template(package, name)
    assert template(package, name) is page
    assert page.environment.autoescape is True
    with pytest.raises(jinja2.UndefinedError):
        page.render()


def test_an_asset_is_the_file() -> None:
    assert asset("faceflow.explain", "templates/page.js").startswith(("/", '"', "'", "("))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Zoë Müller-Ōe", "Zoë Müller-Ōe"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("a\x00\x1b[31m\u202eb", "a\ufffd\ufffd[31m\ufffdb"),
        ("half \ud800", "half \ufffd"),
    ],
)
def test_what_has_no_shape_is_replaced(raw: str, shown: str) -> None:
    assert printable(raw) == shown
    printable(raw).encode("utf-8")
