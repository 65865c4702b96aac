"""An examiner's whole story in a real browser, against a real server on loopback.

Needs the system's Chromium; none is downloaded.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from visiting import Running, Visitor, serving

from faceflow import Identifier
from faceflow.demo import PEOPLE, QUERIES
from faceflow.server.audit import verify

if TYPE_CHECKING:
    from playwright.sync_api import Browser

expect = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright").expect

NAMES = sorted(path.name for path in PEOPLE.iterdir())
SECRET = "a scar through the left brow"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("galleries")
    with Identifier(folder / "people.faceflow") as people:
        people.enroll(PEOPLE)
    with serving(folder) as made:
        yield made


def numbers(text: str) -> list[float]:
    return [
        float(one.replace("−", "-").replace("+", ""))
        for one in re.findall(r"[−+]?\d\.\d{3,4}", text)
    ]


def tell(visitor: Visitor, conclusion: str, note: str, person: str | None) -> None:
    page = visitor.page
    page.get_by_role("tab", name="Decide").click()
    if person is None:
        page.get_by_label("About").select_option("")
    else:
        page.get_by_label("About").select_option(label=person)
    page.get_by_label(conclusion).check()
    page.get_by_label("Reasons").fill(note)
    page.get_by_role("button", name=re.compile("Record the decision|Keep the case")).click()


def test_the_examiners_story(browser: Browser, running: Running, axe: str | None) -> None:
    ida = Visitor(browser, running, "Ida", axe)
    page = ida.page
    ida.check()
    assert page.get_by_role("link", name="Settings").is_hidden()  # not an examiner's

    # (1) Analyse first: nobody is named, nothing is scored.
    with page.expect_response(re.compile("/searches$")) as found:
        page.set_input_files("#photo", QUERIES / "Ada-mask.jpg")
    search = found.value.json()
    best = search["candidates"][0]
    assert best["person"]["name"] == "Ada"
    expect(page.get_by_text("Which regions show the face")).to_be_visible()
    for name in NAMES:
        assert not re.search(rf"\b{name}\b", ida.text())
    page.get_by_label("eyes", exact=True).check()
    ida.check()
    page.get_by_role("button", name="Look at the candidates").click()

    # (2) Side by side: both faces zoom together; still no names, and no order.
    images = page.locator(".pair .face img")
    expect(images).to_have_count(2)
    page.get_by_role("group", name=re.compile("^Query; plus")).focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    transforms = [images.nth(i).evaluate("(e) => e.style.transform") for i in (0, 1)]
    assert transforms[0] == transforms[1]
    assert "scale(1.4)" in transforms[0]
    page.get_by_role("button", name="Grid", exact=True).click()
    page.get_by_role("button", name="Flip query").click()
    expect(page.locator(".turn.flip")).to_have_count(1)
    page.get_by_role("button", name="Original").click()
    assert images.nth(0).get_attribute("src").startswith("blob:")
    labels = page.locator(".people .who2").all_inner_texts()
    assert labels == [f"Candidate {letter}" for letter in "ABCDEFGHIJKL"]
    assert not any(re.search(rf"\b{name}\b", ida.text()) for name in NAMES)
    assert not re.search(r"\d\.\d{3}", ida.text())
    ida.check()

    # (3) Flow: only with names and scores; every number adds up.
    page.get_by_role("tab", name="Flow").click()
    expect(page.get_by_role("heading", name="This shows scores")).to_be_visible()
    page.locator("#panel").get_by_role("button", name="Show names and scores").click()
    with page.expect_response(re.compile(f"/explanation.face_id={best['face_id']}$")) as answer:
        page.locator(".people button", has_text="Ada").click()
    why = answer.value.json()
    assert sum(why["contributions"]) == pytest.approx(why["terms"]["emd"], abs=1e-9)
    assert sum(why["terms"].values()) == pytest.approx(why["score"], abs=1e-9)
    expect(page.get_by_role("heading", name="Ada: what each cell receives")).to_be_visible()
    cells = page.get_by_role("group", name=re.compile("^Query; arrow keys"))
    strongest = max(range(64), key=lambda r: why["contributions"][r])
    box = cells.bounding_box()
    assert box is not None
    row, column = divmod(strongest, 8)
    page.mouse.move(
        box["x"] + (column + 0.5) * box["width"] / 8, box["y"] + (row + 0.5) * box["height"] / 8
    )
    readout = page.locator(".readout")
    expect(readout).to_contain_text(f"Query row {row + 1}, column {column + 1}")
    assert numbers(readout.inner_text())[-1] == pytest.approx(
        why["contributions"][strongest], abs=5e-5
    )
    assert page.locator(".threads path").count() > 0
    page.mouse.move(0, 0)
    page.keyboard.press("Tab")  # the keyboard gets there too, and hears it
    page.get_by_role("group", name=re.compile("^Candidate; arrow keys")).focus()
    page.keyboard.press("ArrowUp")
    expect(readout).to_contain_text("Gallery row 4, column 5")
    ida.check()

    # (4) Why Ada and not the next: the parts add up to the difference of the scores.
    with page.expect_response(re.compile("/comparison")) as answer:
        page.get_by_role("tab", name="Why not another").click()
    other = answer.value.json()
    assert sum(other["cells"]) == pytest.approx(other["terms"]["emd"], abs=1e-9)
    assert sum(other["terms"].values()) == pytest.approx(other["difference"], abs=1e-9)
    expect(page.get_by_role("region", name="The difference as a sum")).to_be_visible()
    shown = numbers(page.get_by_role("region", name="The difference as a sum").inner_text())
    assert shown[0] + sum(shown[1:-1]) == pytest.approx(shown[-1], abs=3e-4)
    ida.check()

    # (5) What if: rescored, and told to be no result.
    page.get_by_role("tab", name="What if").click()
    expect(page.get_by_text("Not the recorded result")).to_be_hidden()
    with page.expect_response(re.compile("/what-if")) as answer:
        page.get_by_role("button", name="Upper half").click()
    assert answer.value.json()["recorded"] is False
    assert answer.value.json()["hidden"] == list(range(32))
    expect(page.get_by_text("Not the recorded result")).to_be_visible()
    brush = page.get_by_role("group", name=re.compile("space bar"))
    brush.focus()
    page.keyboard.press("ArrowDown")
    with page.expect_response(re.compile("/what-if")) as answer:
        page.keyboard.press("Space")
    assert len(answer.value.json()["hidden"]) == 33
    ida.check()
    page.get_by_role("button", name="Put all back").click()
    expect(page.get_by_text("Not the recorded result")).to_be_hidden()

    # (6) Ranks.
    page.get_by_role("tab", name="Ranks").click()
    expect(page.get_by_role("img", name=re.compile("Ada is"))).to_have_attribute(
        "aria-label", f"Ada is {best['margin']:.3f} ahead of the next"
    )
    expect(page.locator(".strip .thumb")).to_have_count(2)
    ida.check()

    # (7) The decision, which makes the case.
    page.get_by_role("tab", name="Decide").click()
    page.get_by_label("Title of the case").fill("Till robbery")
    expect(page.get_by_role("checkbox", name="eyes", exact=True)).to_be_checked()
    ida.check()
    page.get_by_label("Strong support for the same person").check()
    page.get_by_label("Reasons").fill(SECRET)
    page.get_by_role("button", name="Keep the case with this decision").click()
    page.wait_for_url(re.compile("/cases/c_"))
    address = page.url
    expect(page.get_by_text(SECRET)).to_be_visible()
    expect(page.get_by_text("Waiting for another person's decision")).to_be_visible()
    ida.check()

    # (8) Two others review at once, blind to the first and to each other.
    reviewers = [Visitor(browser, running, name, axe) for name in ("Noor", "Olu")]
    for reviewer in reviewers:
        reviewer.page.get_by_role("link", name="Cases").click()
        expect(reviewer.page.get_by_text("your turn")).to_be_visible()
        reviewer.check()
        reviewer.page.get_by_role("link", name="Till robbery").click()
        expect(reviewer.page.get_by_text("Which regions show the face")).to_be_visible()
        assert reviewer.page.get_by_role("link", name="Case file").count() == 0
        reviewer.page.get_by_role("tab", name="Flow").click()
        reviewer.page.locator("#panel").get_by_role("button", name="Show names").click()
        expect(
            reviewer.page.get_by_role("heading", name="Query: what each cell adds")
        ).to_be_visible()
    for reviewer, conclusion in zip(
        reviewers, ("Inconclusive", "Limited support for the same"), strict=True
    ):
        assert SECRET not in "".join(reviewer.bodies)
        tell(
            reviewer,
            conclusion,
            f"seen by {reviewer.page.locator('#who').inner_text()}",
            None if conclusion == "Inconclusive" else "Ada",
        )
    expect(reviewers[1].page.get_by_text("Settled: the same person")).to_be_visible()
    expect(reviewers[1].page.get_by_text(SECRET)).to_be_visible()  # now, and not before
    assert SECRET not in "".join(reviewers[0].bodies)
    reviewers[1].check()

    # (9) The case file holds, and so does the log.
    page.goto(address)
    expect(page.get_by_text("Settled: the same person")).to_be_visible()
    with page.expect_download(timeout=240_000) as download:
        page.get_by_role("link", name="Case file").click()
    check_case_file(Path(download.value.path()).read_bytes())
    for visitor in (ida, *reviewers):
        visitor.leave()
    verify(running.app.state.state)


def check_case_file(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    sums = dict(line.split("  ")[::-1] for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    case = json.loads(files["case.json"])
    assert case["decisions"][0]["note"] == SECRET
    assert case["decisions"][0]["features"] == ["eyes"]
    assert case["decisions"][0]["names_shown"] is True
    assert case["outcome"] == {
        "direction": "same",
        "person": case["decisions"][0]["person"],
        "agreed": [1, 3],
    }
    noted = {e["details"]["sha256"] for e in case["audit"]["entries"] if e["action"] == "decide"}
    assert noted == {one["sha256"] for one in case["decisions"]}
    face = case["search"]["candidates"][0]["face_id"]
    why = json.loads(files[f"explanations/face-{face}.json"])
    assert sum(why["query"]["contributions"]) == pytest.approx(why["emd"], abs=1e-9)
    assert files[f"pictures/flow-{face}.png"].startswith(b"\x89PNG")
    assert {"pictures/query-aligned.png", "pictures/query-original.jpg"} <= set(files)
    text = files["index.html"].decode()
    assert "Till robbery" in text
    assert SECRET in text
    assert "<script" not in text
