"""A thousand candidates: what a page fetches and how long the browser works on it.

Times are of the browser's main thread by the processor's clock, so that a busy machine changes them
little; the limits are several times what was measured.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import squares
from visiting import Running, Visitor, serving

from faceflow.gallery import Enrolment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, CDPSession

expect = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright").expect

PEOPLE = 1000
log = logging.getLogger(__name__)
"""Measured numbers: pytest --log-cli-level=INFO shows them."""
SMOOTH_SCROLL = """async () => {
    const list = document.querySelector(".people");
    const frames = [];
    let last = performance.now();
    for (let step = 0; step < 40; step += 1) {
        list.scrollTop += 300;
        const now = await new Promise((resolve) => requestAnimationFrame(resolve));
        frames.push(now - last);
        last = now;
    }
    return frames;
}"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    rng = np.random.default_rng(3)
    crops = np.zeros((PEOPLE, 128, 128, 3), np.uint8)
    crops[..., 0] = 255
    levels = rng.integers(30, 225, (PEOPLE, 8, 8), dtype=np.uint8)
    crops[..., 1] = levels.repeat(16, axis=1).repeat(16, axis=2)
    features = squares.Blocks().embed(crops)
    with serving(tmp_path_factory.mktemp("galleries"), squares.analyzer) as made:
        engine = made.app.state.service.engine
        engine.create("people", "blocks", None)
        engine.gallery("people").enroll(
            Enrolment(
                person=f"Person {number:04}",
                source=f"{number}.png",
                content_hash=f"{number:064x}",
                features=features[number : number + 1],
                box=np.array([0.0, 0.0, 128.0, 128.0]),
                score=0.99,
                crop=crops[number],
            )
            for number in range(PEOPLE)
        )
        yield made


class Clock:
    """Seconds of the page's main thread, by the processor's clock."""

    def __init__(self, session: CDPSession) -> None:
        self._session = session
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self._last = self._now()

    def _now(self) -> float:
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    def lap(self) -> float:
        """Since the last lap."""
        before, self._last = self._last, self._now()
        return self._last - before


def test_a_thousand_candidates_are_light(
    browser: Browser, running: Running, tmp_path: Path
) -> None:
    photo = tmp_path / "query.png"
    photo.write_bytes(squares.photo((1, 9)))
    ida = Visitor(browser, running, "Ida", None)
    page = ida.page
    weight = sum(
        one["encodedBodySize"]
        for one in page.evaluate(
            "() => performance.getEntriesByType('resource').map((e) => e.toJSON())"
        )
    )
    page.get_by_text("How to search").click()
    page.get_by_label("People to list").fill("1000")
    page.get_by_label("Faces to compare").fill("1000")
    clock = Clock(ida.context.new_cdp_session(page))
    page.set_input_files("#photo", photo)
    expect(page.get_by_text("Which regions show the face")).to_be_visible()
    answered = clock.lap()
    assert thumbnails(ida) == 0  # nobody has looked at anybody
    page.get_by_text("Look at the candidates").click()
    expect(page.locator(".rail h2")).to_have_text("1,000 candidates")
    page.wait_for_timeout(500)
    listed = clock.lap()
    first = thumbnails(ida)
    assert first <= 25  # those in sight, each an entry in the log
    page.locator("#show-names").click()
    expect(page.locator(".people .sub").first).to_be_visible()
    named = clock.lap()
    frames = page.evaluate(SMOOTH_SCROLL)
    scrolled = clock.lap()
    page.wait_for_timeout(300)
    assert thumbnails(ida) < first + 60  # where it stopped, and not all that flew past
    # By plain selectors: reading the roles of a thousand rows is work of the test, not of the page.
    page.locator("#tab-ranks").click()
    expect(page.locator(".rank svg + .note")).to_contain_text("The first 24 of 1,000 candidates")
    ranked = clock.lap()
    page.locator("#tab-decide").click()
    page.locator("[name=title]").wait_for()
    decided = clock.lap()
    ida.leave()
    log.info(
        "page %.0f KiB; thumbnails %d, then %d; main thread, ms: answer %.0f, list %.0f, "
        "names %.0f, 40 scrolls %.0f, ranks %.0f, decide %.0f; "
        "frames, ms: median %.1f, longest %.1f",
        weight / 1024,
        first,
        thumbnails(ida),
        *(1000 * one for one in (answered, listed, named, scrolled, ranked, decided)),
        float(np.median(frames)),
        max(frames),
    )
    assert weight < 200 * 1024
    assert max(answered, listed, named, ranked, decided) < 1.5
    assert scrolled / len(frames) < 0.05


def thumbnails(visitor: Visitor) -> int:
    """How many pictures of enrolled people were asked for."""
    return sum(path.endswith("/thumbnail") for path in visitor.asked)
