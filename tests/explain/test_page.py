from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from faceflow import __version__
from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.explain import Explanation, PageRow, html_page
from faceflow.features import Grid
from faceflow.matching.transport import Status

Make = Callable[..., Explanation]
HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=https://evil.example/x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "<!-- ]]> &lt;b&gt;",
    "\ud800 half a character",
    "\x00\x1b[31m\u202eturned",
]
VOID = {"meta", "img", "rect", "br"}


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text; checks that tags are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def crop(seed: int = 0, shape: tuple[int, int] = (64, 64)) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_the_columns_of_the_table_add_up_to_the_score(explained: Make) -> None:
    plain = explained((4, 4))
    mixed = replace(plain, visible_cosine=0.6, visible_share=0.3, score=0.0)
    mixed = replace(mixed, score=sum(term.part for term in mixed.terms))
    for rows in ([plain], [mixed, plain], [plain, mixed]):
        html = html_page(crop(), [PageRow("Ada", row, 1, 1) for row in rows])
        table = html[html.index("<tbody>") : html.index("</tbody>")].split("<tr>")[1:]
        heads = re.findall(r'<th scope="col"[^>]*>([^<]*)', html)
        visible = any(row.visible_cosine is not None for row in rows)
        assert ("Visible cosine" in heads) is visible
        for row, line in zip(rows, table, strict=True):
            assert f">{row.score:.3f}<" in line
            assert line.count("<td") + line.count("<th") == len(heads)
            parts = [float(part) for part in re.findall(r"adds (-?[\d.]+)", line)]
            assert len(parts) == len(row.terms)
            assert sum(parts) == pytest.approx(row.score, abs=0.0005 * (len(parts) + 1))
            for term in row.terms:
                assert f"{term.value:.3f} <span" in line


def scripts(html: str) -> list[str]:
    return re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)


def test_the_table_and_a_picture_for_each_match(explained: Make) -> None:
    first, second = explained((8, 8)), explained((8, 8), seed=1)
    html = html_page(
        crop(),
        [
            PageRow("Ada Lovelace", first, 4, 1, crop(1), "ada/1.jpg"),
            PageRow("Alan Turing", second, 1, 2),
        ],
        query="photo 7.jpg",
        decision="Identified as Ada Lovelace",
        threshold=0.25,
        network="lightcnn-v4",
        k=100,
    )
    assert html.startswith("<!doctype html>\n<html")
    page = Page(html)
    assert "Identified as Ada Lovelace" in page.text
    assert "Query: photo 7.jpg" in page.text
    for name, e in (("Ada Lovelace", first), ("Alan Turing", second)):
        assert name in page.text
        for value in (e.score, e.cosine, e.emd):
            assert f"{value:.3f}" in page.text
    assert "4 → 1" in page.text
    assert "1 → 2" in page.text
    assert "not proof of identity" in page.text
    words = ["faceflow " + __version__, "face network lightcnn-v4", "faces re-ranked (k) 100"]
    words += ["threshold 0.25", "patch grid 8x8", "weights apc", "alpha 0.3"]
    words += ["transport Sinkhorn", "epsilon 0.05", "tolerance 0.001"]
    for setting in words:
        assert setting in page.text
    assert len(page.all("article")) == 2
    assert len([i for i in page.all("div") if i.get("class") == "face"]) == 12


def test_the_page_needs_nothing_from_elsewhere(explained: Make) -> None:
    html = html_page(crop(), [PageRow("Ada", explained(), 1, 1, crop(1))])
    page = Page(html)
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]+|^\s*//.*$", "", html, flags=re.MULTILINE)
    assert "url(" not in html
    assert "@import" not in html
    for name, attributes in page.tags:
        assert name not in ("link", "iframe", "object", "embed", "form", "base")
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key == "src":
                assert value.startswith("data:image/")
            if key == "href":
                assert value.startswith("#match-")
            assert key != "style", "the policy would block it"


def test_the_policy_allows_exactly_our_style_and_script(explained: Make) -> None:
    html = html_page(crop(), [PageRow("Ada", explained(), 1, 1)])
    policy = next(
        m["content"] for m in Page(html).all("meta") if "content-security" in str(m).lower()
    )
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    (script,) = scripts(html)
    (style,) = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    for part in (script, style):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert html.index("Content-Security-Policy") < html.index("<style>")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_text(explained: Make, name: str) -> None:
    e = explained()
    plain = Page(
        html_page(crop(), [PageRow("Ada", e, 1, 1, crop(1), "a")], query="q", decision="d")
    )
    html = html_page(
        crop(), [PageRow(name, e, 1, 1, crop(1), name)], query=name, decision=name, network=name
    )
    page = Page(html)
    skeleton = [(tag, sorted(attributes)) for tag, attributes in page.tags]
    # A network was named here and not there: one more setting.
    extra: list[tuple[str, list[str]]] = [("dt", []), ("dd", [])]
    expected = [(tag, sorted(attributes)) for tag, attributes in plain.tags]
    assert len(skeleton) == len(expected) + 2
    assert sorted(skeleton) == sorted(expected + extra)
    assert len(scripts(html)) == 1
    html.encode("utf-8")
    if name.isprintable():
        assert " ".join(name.split()) in page.text
    else:
        assert "\ufffd" in page.text


def test_every_picture_is_described(explained: Make) -> None:
    page = Page(html_page(crop(), [PageRow("Ada", explained(), 1, 1, crop(1))]))
    described = [i["alt"] for i in page.all("img")]
    assert "The query rebuilt from patches of Ada" in described
    # Only the legends' colour bars, whose ends are labelled in words, are decoration.
    assert described.count("") == 3
    assert page.all("html") == [{"lang": "en"}]
    heads = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert heads[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(heads)), "no level is skipped"


def test_pictures_are_readable_images(explained: Make) -> None:
    page = Page(html_page(crop(), [PageRow("Ada", explained((7, 6)), 1, 1, crop(1, (96, 80)))]))
    sizes = set()
    for attributes in page.all("img"):
        data = base64.b64decode(attributes["src"].partition("base64,")[2])
        image = Image.open(io.BytesIO(data))
        image.load()
        if "width" in attributes:
            assert (attributes["width"], attributes["height"]) == (
                str(image.width),
                str(image.height),
            )
            sizes.add(image.size)
    assert sizes == {(258, 259), (216, 259)}


@pytest.mark.parametrize("weighting", ["apc", "uniform"])
def test_a_missing_photo_is_said(explained: Make, weighting: str) -> None:
    page = Page(html_page(crop(), [PageRow("Ada", explained(weighting=weighting), 1, 1)]))
    assert "no photo kept" in page.text
    assert "The gallery keeps no photo of this face." in page.text
    assert "Empty grid: the gallery keeps no photo of this face" in str(page.tags)


@pytest.mark.parametrize("grid", [(8, 8), (7, 6), (4, 4), (3, 3), (1, 1)])
def test_the_script_gets_the_numbers(explained: Make, grid: Grid) -> None:
    e = explained(grid)
    html = html_page(crop(), [PageRow("Ada", e, 1, 1, crop(1))])
    block = re.search(r'<script type="application/json" class="data">(.*?)</script>', html)
    assert block is not None
    data = json.loads(block[1])
    assert data["grid"] == list(grid)
    assert np.array(data["flow"]).reshape(e.flow.shape) / 1e6 == pytest.approx(e.flow, abs=1e-6)
    assert sum(data["query"]) == pytest.approx(e.emd, abs=1e-4)
    assert data["v"] == pytest.approx(e.v, abs=1e-6)


def test_equal_weights_are_said_in_place_of_plain_maps(explained: Make) -> None:
    plain = Page(html_page(crop(), [PageRow("Ada", explained(weighting="uniform"), 1, 1, crop(1))]))
    assert "All patches of a face weigh the same, 6.2% each." in plain.text
    assert "What each gallery patch added" in plain.text
    other = Page(html_page(crop(), [PageRow("Ada", explained(weighting="apc"), 1, 1, crop(1))]))
    assert "weigh the same" not in other.text
    assert "Weight of each gallery patch" in other.text


def test_no_match_and_no_mass(explained: Make) -> None:
    assert "no face in the gallery" in Page(html_page(crop(), [], decision="Unknown")).text
    nothing = explained(flow=np.zeros((16, 16)), status=Status.NO_MASS)
    page = Page(html_page(crop(), [PageRow("Ada", nothing, 1, 1, crop(1))]))
    assert "nothing moved" in page.text


def test_the_page_is_the_same_every_time(explained: Make) -> None:
    rows = [PageRow("Ada", explained(), 2, 1, crop(1))]
    assert html_page(crop(), rows) == html_page(crop(), rows)


def test_wrong_crops(explained: Make) -> None:
    with pytest.raises(InputError, match="query crop"):
        html_page(crop()[:, :, 0], [])
    with pytest.raises(InputError, match="gallery crop"):
        html_page(crop(), [PageRow("Ada", explained(), 1, 1, crop()[:, :, 0])])


def test_two_faces_without_ranks(explained: Make) -> None:
    page = Page(html_page(crop(), [PageRow("Ada", explained(), crop=crop(1))]))
    assert "rank" not in page.text.lower().replace("re-rank", "")
    assert "Two faces compared" in page.text
    assert [len(page.all(tag)) for tag in ("tr", "td")] == [2, 3]


def test_the_columns_of_the_table_account_for_the_score(explained: Make) -> None:
    """With the cosine of what both faces show, which counts by default, and without."""
    plain = explained()
    mixed = replace(
        plain,
        visible=0.5,
        visible_share=0.4,
        score=0.3 * plain.emd + 0.7 * (0.6 * plain.cosine + 0.4 * 0.5),
    )
    for explanation, columns in ((plain, 2), (mixed, 3)):
        html = html_page(crop(), [PageRow("Ada", explanation, 1, 1)])
        heads, row = html.split("<thead>")[1].split("</table>")[0].split("<tbody>")
        shares = [float(share) for share in re.findall(r"&times; ([\d.]+)<", heads)]
        score, *values = [float(n) for n in re.findall(r'number(?: strong)?">(-?\d\.\d+)<', row)]
        assert len(shares) == len(values) == columns
        total = sum(share * value for share, value in zip(shares, values, strict=True))
        assert score == pytest.approx(total, abs=0.01)
