"""The pages beside the examiner's story: people, enrolment, settings, sessions, keys and widths.

The people here are made of squares, so that no network has to be loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import squares
from visiting import Running, Visitor, serving

from faceflow.server.audit import verify

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright").expect

PAGES = ("/", "/cases", "/people", "/enroll", "/settings", "/audit")
STEPS = ("Analyse", "Side by side", "Flow", "Why not another", "What if", "Ranks", "Decide")
REFUSED = "the server responded with a status of"
"""What the browser's console says of an answer that the page tells in words."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("galleries"), squares.analyzer) as made:
        engine = made.app.state.service.engine
        for name in ("people", "visitors"):
            engine.create(name, "blocks", None)
        engine.gallery("people").enroll(squares.enrolments(people=6, photos=2))
        yield made


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another photo of person 1."""
    path = tmp_path_factory.mktemp("query") / "query.png"
    path.write_bytes(squares.photo((1, 9)))
    return path


@pytest.fixture(scope="module")
def maria(browser: Browser, running: Running, axe: str | None) -> Iterator[Visitor]:
    """An administrator, for all tests here; nothing may have failed when they are done."""
    made = Visitor(browser, running, "Maria", axe)
    yield made
    made.leave()


def answer(page: Page, button: str, **fields: str) -> None:
    """Fill in the dialog that is open, and say yes."""
    dialog = page.get_by_role("dialog")
    for label, text in fields.items():
        dialog.get_by_label(label.replace("_", " ")).fill(text)
    dialog.get_by_role("button", name=button, exact=True).click()
    expect(dialog).to_have_count(0)


def tile(page: Page, name: str) -> Any:
    return page.locator(".tile", has=page.get_by_text(name, exact=True))


def test_a_folder_is_enrolled_and_every_photo_says_what_became_of_it(
    maria: Visitor, running: Running, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    for name, content in {
        "Yan/first.png": squares.photo((11, 0)),
        "Yan/again.png": squares.photo((11, 0)),
        "Yan/both.png": squares.photo((11, 1), (12, 1)),
        "Zoe/small.png": squares.photo((12, 0), side=16),
        "Zoe/nobody.png": squares.photo(),
        "Zoe/broken.png": b"no photo",
        "Zoe/notes.txt": b"not sent",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    page = maria.page
    maria.open("/enroll")
    page.get_by_label("Gallery").select_option("visitors")
    with page.expect_request(re.compile("/events$")):  # told while it is worked on
        page.set_input_files("#folder", folder)
    expect(page.get_by_text("6 of 6 done")).to_be_visible()
    assert page.locator("progress").evaluate("(e) => [e.value, e.max]") == [6, 6]
    told = {
        line.locator(".name .note").inner_text(): line.locator(".tag").inner_text()
        for line in page.locator(".results li").all()
    }
    assert told == {
        "first.png": "added",
        "again.png": "duplicate",
        "both.png": "several faces",
        "small.png": "too small",
        "nobody.png": "no face",
        "broken.png": "unreadable",
    }
    assert {one.name for one in running.app.state.service.gallery("visitors").people()} == {"Yan"}
    maria.check()
    # Photos that lie in no folder need a name first.
    page.set_input_files("#files", folder / "Zoe" / "nobody.png")
    expect(page.get_by_role("alert")).to_contain_text("Nobody is named for 1 photo")
    page.get_by_label("Person, for photos").fill("Zoe")
    (tmp_path / "zoe.png").write_bytes(squares.photo((12, 0)))
    page.set_input_files("#files", tmp_path / "zoe.png")
    expect(page.get_by_text("1 of 1 done: 1 added")).to_be_visible()


def test_people_are_merged_split_back_renamed_and_retired(maria: Visitor, running: Running) -> None:
    page = maria.page
    maria.open("/people")
    expect(page.get_by_role("status").filter(has_text="6 people")).to_be_visible()
    expect(page.locator(".tile img")).to_have_count(6)
    page.get_by_label("Find a name").fill("son 3")
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_label("Find a name").fill("")

    tile(page, "Person 0").click()
    tile(page, "Person 1").click()
    page.get_by_role("button", name="Merge Person 0 into Person 1").click()
    maria.check()
    answer(page, "Merge")
    expect(tile(page, "Person 1")).to_contain_text("4 faces")
    expect(tile(page, "Person 0")).to_have_count(0)
    page.get_by_role("button", name="Split back").click()
    expect(tile(page, "Person 0")).to_contain_text("2 faces")
    expect(page.get_by_text("split back", exact=True)).to_be_visible()

    tile(page, "Person 5").click()
    page.get_by_role("button", name="Rename").click()
    answer(page, "Rename", Name="Wim")
    tile(page, "Wim").click()
    page.get_by_role("button", name="Faces", exact=True).click()
    page.get_by_role("dialog").get_by_role("checkbox").first.check()
    answer(page, "Move", Give_the_ticked_ones_to="Vera")
    expect(tile(page, "Vera")).to_contain_text("1 face")

    # Nobody on legal hold is erased, and the page says so before it asks.
    tile(page, "Wim").click()
    page.get_by_role("button", name="Consent").click()
    page.get_by_label("Legal hold").check()
    answer(page, "Save", Purpose="entrance")
    expect(tile(page, "Wim")).to_contain_text("legal hold")
    tile(page, "Wim").click()
    page.get_by_role("button", name="Retire").click()
    answer(page, "Understood")
    page.get_by_role("button", name="Consent").click()
    expect(page.get_by_label("Purpose")).to_have_value("entrance")
    page.get_by_label("Legal hold").uncheck()
    answer(page, "Save")
    tile(page, "Wim").click()
    page.get_by_role("button", name="Retire").click()
    answer(page, "Erase")
    expect(page.get_by_text("Wim was erased.")).to_be_visible()
    expect(page.get_by_text("Certificate d_")).to_be_visible()
    names = {one.name for one in running.app.state.service.gallery("people").people()}
    assert names == {"Vera", *(f"Person {number}" for number in range(5))}


def test_keys_are_made_used_and_revoked(
    maria: Visitor, browser: Browser, running: Running, axe: str | None
) -> None:
    page = maria.page
    maria.open("/settings")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Role").select_option("examiner")
    maria.check()
    answer(page, "Make it", Whose_it_is="Rhea", Galleries="people")
    secret = page.locator(".secret").inner_text()
    running.keys["Rhea"] = secret
    rhea = Visitor(browser, running, "Rhea", axe)
    expect(rhea.page.get_by_label("Gallery").locator("option")).to_have_count(1)
    page.get_by_role("button", name="Hide it").click()
    assert secret not in page.content()
    row = page.locator("tr", has_text="Rhea")
    row.get_by_role("button", name="Revoke").click()
    answer(page, "Revoke")
    expect(row).to_contain_text("revoked")
    # The session of a revoked key is at an end, and its key signs nobody in again.
    rhea.page.get_by_role("link", name="People").click()
    expect(rhea.page).to_have_url(re.compile("/sign-in"))
    rhea.page.get_by_label("Key").fill(secret)
    rhea.page.get_by_role("button", name="Sign in").click()
    expect(rhea.page.get_by_role("alert")).to_contain_text("It is mistyped, expired or revoked.")
    rhea.leave(told=REFUSED)

    page.get_by_label("Step 1, for the same person").fill("Very strong support")
    page.get_by_role("button", name="Save the words").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_label("Step 1, for the same person")).to_have_value("Very strong support")
    expect(page.get_by_text("Requests of a key in a minute")).to_be_visible()
    page.get_by_label("Step 1, for the same person").fill("Strong support for the same person")
    page.get_by_role("button", name="Save the words").click()


def test_the_log_is_read_and_verified(maria: Visitor, running: Running) -> None:
    maria.open("/audit")
    expect(maria.page.get_by_role("rowheader", name="sign in", exact=True).first).to_be_attached()
    maria.page.get_by_role("button", name="Verify the chain").click()
    expect(maria.page.get_by_text("The chain holds over all")).to_be_visible()
    assert verify(running.app.state.state)[0] > 10


def test_a_session_that_ends_takes_nothing_along(
    browser: Browser, running: Running, axe: str | None, photo: Path
) -> None:
    ida = Visitor(browser, running, "Ida", axe)
    page = ida.page
    page.set_input_files("#photo", photo)
    page.get_by_role("tab", name="Decide").click()
    # The list tells no order either, as long as names are hidden.
    shown = page.get_by_label("About").locator("option").all_inner_texts()
    assert shown == ["all that are shown", *(f"Candidate {letter}" for letter in "ABCDEF")]
    page.get_by_label("Title of the case").fill("Entrance hall")
    page.get_by_label("Inconclusive").check()
    page.get_by_label("Reasons").fill("an hour's work")
    ida.context.clear_cookies()
    page.get_by_role("button", name="Keep the case").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Your session has ended")
    ida.check()
    # Nobody reads the page meanwhile: the dialog hides it, and only signing in closes it.
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    behind = "(e) => getComputedStyle(e, '::backdrop').backgroundColor"
    assert dialog.evaluate(behind) == page.evaluate(
        "() => getComputedStyle(document.body).backgroundColor"
    )
    dialog.get_by_label("Key").fill("ffk_wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("This key opens nothing")
    dialog.get_by_label("Key").fill(running.keys["Ida"])
    dialog.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/cases/c_"))
    expect(page.get_by_text("an hour's work")).to_be_visible()
    # A page that is opened without a session asks for one, and then shows what was wanted.
    ida.context.clear_cookies()
    page.goto(f"{running.address}/cases")
    page.get_by_label("Key").fill(running.keys["Ida"])
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="Entrance hall")).to_be_visible()
    # Somebody else who signs in begins anew, and sees nothing of what lay there.
    page.get_by_role("link", name="Entrance hall").click()
    expect(page.get_by_text("an hour's work")).to_be_visible()
    ida.context.clear_cookies()
    page.get_by_role("tab", name="Side by side").click()
    page.get_by_role("tab", name="Decide").click()
    expect(dialog).to_contain_text("Your session has ended")
    dialog.get_by_label("Key").fill(running.keys["Sam"])
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.locator("#who")).to_contain_text("Sam")
    assert "an hour's work" not in ida.text()
    ida.leave(told=REFUSED)


def test_not_this_person_is_marked_and_shown_to_later_searches(
    browser: Browser, running: Running, axe: str | None, photo: Path
) -> None:
    ida = Visitor(browser, running, "Ida", axe)
    page = ida.page
    page.set_input_files("#photo", photo)
    page.get_by_role("button", name="Look at the candidates").click()
    page.locator("#show-names").click()
    page.locator(".people button").nth(1).click()
    name = page.locator(".people .who2").nth(1).inner_text()
    page.get_by_role("button", name="Not this person").click()
    answer(page, "Mark", Why="another ear")
    expect(page.get_by_role("button", name="Take the mark back")).to_be_visible()
    expect(page.locator(".people li").nth(1)).to_contain_text("not this person")
    page.get_by_role("button", name="Another photo").click()
    page.set_input_files("#photo", photo)
    page.get_by_role("button", name="Look at the candidates").click()
    assert "not this person" not in page.locator(".people").inner_text()  # it would lead
    page.locator("#show-names").click()
    marked = page.locator(".people li", has_text=name)
    expect(marked).to_contain_text("not this person")
    ida.leave()


def choose(page: Page, photo: Path) -> None:
    """Press the focused button and answer the dialog it opens.

    A headless Chromium lost one in three runs of all tests on a busy machine: then the button is
    pressed again.
    """
    from playwright.sync_api import TimeoutError as NoDialogError

    for last in (False, False, True):
        try:
            with page.expect_file_chooser(timeout=15_000) as chooser:
                page.keyboard.press("Enter")
            chooser.value.set_files(photo)
            return
        except NoDialogError:
            if last:
                raise


def test_the_steps_are_walked_by_keyboard_alone(
    browser: Browser, running: Running, axe: str | None, photo: Path
) -> None:
    ida = Visitor(browser, running, "Ida", axe)
    page = ida.page
    press = page.keyboard.press
    focused = """() => { const e = document.activeElement;
        return e.ariaLabel ?? (e.matches("button, a, summary") ? e.innerText : ""); }"""

    def tab_to(words: str, most: int = 30) -> None:
        for _ in range(most):
            press("Tab")
            if words in page.evaluate(focused):
                outline = page.evaluate(
                    "() => getComputedStyle(document.activeElement).outlineStyle"
                )
                assert outline == "solid", f"the focus on {words!r} cannot be seen"
                return
        raise AssertionError(f"Tab does not reach {words!r}")

    press("Tab")
    assert page.evaluate(focused) == "Skip to the content"
    press("Enter")
    tab_to("Choose a photo")
    choose(page, photo)
    expect(page.get_by_text("Which regions show the face")).to_be_visible()
    tab_to("Analyse")
    tab_to("Look at the candidates")
    press("Enter")
    tab_to("Query; plus")
    press("+")
    expect(page.get_by_text("140%")).to_be_visible()
    page.get_by_role("tab", name="Side by side").focus()
    # One stop for all candidates; arrows go among them.
    tab_to("Show names")
    tab_to("Candidate A")
    press("ArrowDown")
    assert page.evaluate(focused).startswith("Candidate B")
    press("Enter")
    expect(page.locator(".people [aria-current='true']")).to_contain_text("Candidate B")
    assert page.evaluate(focused).startswith("Candidate B")  # the focus stays
    page.get_by_role("tab", name="Side by side").focus()
    press("ArrowRight")
    tab_to("Show names")
    tab_to("Show names")  # of the panel
    press("Enter")
    expect(page.get_by_role("heading", name="Query: what each cell adds")).to_be_visible()
    tab_to("Query; arrow keys")
    press("ArrowUp")
    expect(page.locator(".readout")).to_contain_text("Query row 2, column 3")
    for step in STEPS[3:]:
        tab_to(f"Next: {step}")
        press("Enter")
        expect(page.get_by_role("tab", name=step)).to_have_attribute("aria-selected", "true")
        if step == "What if":
            tab_to("space bar")
            with page.expect_response(re.compile("/what-if")):
                press("Space")
            expect(page.get_by_text("Not the recorded result")).to_be_visible()
    expect(page.get_by_label("Title of the case")).to_be_visible()
    press("Tab")
    page.keyboard.type("By keyboard")
    for _ in range(2):
        press("Tab")
    press("ArrowDown")  # the scale: radio buttons
    press("Tab")
    page.keyboard.type("seen")
    tab_to("Keep the case")
    press("Enter")
    page.wait_for_url(re.compile("/cases/c_"))
    expect(page.get_by_text("By keyboard")).to_be_visible()
    expect(page.get_by_text("seen", exact=True)).to_be_visible()
    ida.leave()


def test_every_page_fits_and_can_be_read(maria: Visitor, photo: Path) -> None:
    """At three widths in light and dark; the checker runs at the two ends."""
    page = maria.page

    def look() -> None:
        for width in (390, 1366, 1920):
            page.set_viewport_size({"width": width, "height": 844})
            maria.fits()
            if width == 1366:
                continue
            page.emulate_media(color_scheme="light" if width == 390 else "dark")
            maria.check()

    for path in PAGES:
        maria.open(path)
        look()
    page.set_viewport_size({"width": 390, "height": 844})
    maria.open("/")
    page.set_input_files("#photo", photo)
    page.get_by_role("tab", name="Flow").click()
    page.locator("#panel").get_by_role("button", name="Show names").click()
    for step in STEPS:
        page.get_by_role("tab", name=step).click()
        expect(page.locator("#panel")).not_to_have_attribute("aria-busy", "true")
        maria.fits()
    page.emulate_media(color_scheme=None)
    page.set_viewport_size({"width": 1366, "height": 900})


def test_addresses_that_lead_nowhere_are_told_as_pages(
    browser: Browser, running: Running, axe: str | None
) -> None:
    sam = Visitor(browser, running, "Sam", axe)
    answered = sam.page.goto(f"{running.address}/nothing-here")
    assert answered is not None
    assert answered.status == 404
    expect(sam.page.get_by_role("heading", name="There is nothing here")).to_be_visible()
    sam.check()
    # A program is answered as ever.
    problem = sam.context.request.get(f"{running.address}/nothing-here")
    assert problem.headers["content-type"] == "application/problem+json"
    for path, words in (
        ("/settings", "A key with the role searcher may not do this"),
        ("/cases/c_nobody", "A key with the role searcher may not do this"),
    ):
        sam.open(path)
        expect(sam.page.get_by_role("alert")).to_contain_text(words)
    # An overloaded service is told with the time to wait, which programs find in a header.
    busy = {"detail": "The service is busy", "todo": "wait as Retry-After says, and try again"}
    sam.page.route(
        "**/v1/galleries?*",
        lambda route: route.fulfill(status=429, json=busy, headers={"Retry-After": "7"}),
    )
    sam.open("/")
    expect(sam.page.get_by_role("alert")).to_contain_text("Wait 7 seconds, then try again.")
    sam.page.goto(f"{running.address}/docs")
    expect(sam.page.get_by_text("/v1/galleries", exact=True).first).to_be_visible()
    sam.check()
    sam.leave(told=REFUSED)
