"""An examiner's whole story in a real browser, against a real server on loopback.

Needs the system's Chromium; none is downloaded.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from faceflow import Identifier
from faceflow.demo import PEOPLE, QUERIES
from faceflow.server.app import create_app
from faceflow.server.audit import verify
from faceflow.server.roles import Role
from faceflow.server.settings import ServerSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
expect = sync_api.expect
expect.set_options(timeout=30_000)  # a busy machine is no failure

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="there is no Chromium: apt-get install chromium"
)

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-quic"]
NAMES = sorted(path.name for path in PEOPLE.iterdir())
SECRET = "a scar through the left brow"
AXE = "axe-core@4.10.3"
RUN_AXE = "() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})"
# What can be seen and does something must have a name; what is a picture, a text in its place.
NAMELESS = """() => [...document.querySelectorAll("img, button, a[href], input, select, textarea")]
    .filter((e) => e.checkVisibility())
    .filter((e) => e.matches("img") ? !e.hasAttribute("alt")
        : !(e.innerText || e.getAttribute("aria-label") || e.labels?.length || e.title))
    .map((e) => e.outerHTML.slice(0, 120))"""
TELL_OF_THE_POLICY = """addEventListener("securitypolicyviolation",
    (e) => console.error("CSP", e.violatedDirective, e.blockedURI))"""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    address: str
    app: Any
    keys: dict[str, str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("galleries")
    with Identifier(folder / "people.faceflow") as people:
        people.enroll(PEOPLE)
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = create_app(ServerSettings(galleries=folder, port=port))
    made = {
        "Ida": Role.EXAMINER,
        "Noor": Role.REVIEWER,
        "Olu": Role.REVIEWER,
        "Maria": Role.ADMINISTRATOR,
    }
    keys = {name: app.state.keys.create(name, role)[1] for name, role in made.items()}
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Running(f"http://127.0.0.1:{port}", app, keys)
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """The accessibility checker's source from the package registry, or None without npm."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        return None
    done = subprocess.run(
        ["npm", "pack", AXE, "--silent", "--pack-destination", str(folder)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    packed = next(folder.glob("*.tgz"), None)
    if done.returncode or packed is None:
        return None
    with tarfile.open(packed) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


class Visitor:
    """Somebody at the pages, whose every request and answer is watched."""

    def __init__(self, browser: Browser, running: Running, name: str, axe: str | None) -> None:
        self.running, self.axe = running, axe
        self.context: BrowserContext = browser.new_context(viewport={"width": 1366, "height": 900})
        self.context.add_init_script(TELL_OF_THE_POLICY)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.bodies: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.context.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        self.page.on("response", self._keep)
        self.page.goto(f"{running.address}/")
        expect(self.page).to_have_url(re.compile("/sign-in"))
        self.page.get_by_label("Key").fill(running.keys[name])
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.locator("#who")).to_contain_text(name)

    def _keep(self, response: Any) -> None:
        if "json" in (response.header_value("content-type") or ""):
            try:
                self.bodies.append(response.text())
            except Exception:  # the page went on before the body was read
                self.bodies.append("")

    def text(self) -> str:
        return str(self.page.inner_text("body"))

    def check(self) -> None:
        """Nobody is kept out: by axe where it can be had, else by the worst of its rules."""
        if self.axe is None:
            found = self.page.evaluate(NAMELESS)
        else:
            self.page.evaluate(self.axe)
            result = self.page.evaluate(RUN_AXE)
            found = [
                (
                    one["id"],
                    [node["html"][:160] for node in one["nodes"]],
                    one["nodes"][0]["failureSummary"],
                )
                for one in result["violations"]
            ]
        assert found == []

    def leave(self) -> None:
        """Nothing was refused by the policy, nothing went beyond this host, nothing failed."""
        assert self.errors == []
        assert self.hosts <= {urlsplit(self.running.address).netloc, ""}
        self.context.close()


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


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1920, "dark")])
def test_every_page_fits_and_can_be_read(
    browser: Browser, running: Running, axe: str | None, width: int, scheme: str
) -> None:
    maria = Visitor(browser, running, "Maria", axe)
    maria.page.set_viewport_size({"width": width, "height": 844})
    maria.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for path in ("/", "/cases", "/people", "/enroll", "/settings", "/audit"):
        maria.page.goto(running.address + path)
        expect(maria.page.locator("#page")).not_to_have_attribute("aria-busy", "true")
        beyond = maria.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, f"{path} is {beyond} pixels wider than {width}"
        maria.check()
    maria.leave()
