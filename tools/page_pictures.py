"""Pictures of the examiner's pages for the documentation, of the drawn people.

    python tools/page_pictures.py docs/img

Needs the extra ``server``, playwright, and the system's Chromium.
"""

from __future__ import annotations

import argparse
import io
import math
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import uvicorn
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from faceflow import Identifier
from faceflow.demo import PEOPLE, QUERIES
from faceflow.server.app import create_app
from faceflow.server.roles import Role
from faceflow.server.settings import ServerSettings

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def shoot(page: Page, path: Path) -> None:
    """One picture of the whole page."""
    page.wait_for_timeout(1500)
    # The window as high as the page, and not a picture of more than the window: what depends on
    # the height would move under the pointer.
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    used = page.evaluate("() => document.querySelector('main').getBoundingClientRect().bottom")
    shot = shot.crop((0, 0, shot.width, min(shot.height, math.ceil(used) - 40)))
    shot.save(path, quality=82, method=6)


def sign_in(page: Page, address: str, key: str) -> None:
    """Come in."""
    page.goto(address)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def story(page: Page, address: str, key: str, folder: Path) -> None:
    """Go the examiner's way and take the pictures."""
    sign_in(page, address, key)
    page.set_input_files("#photo", QUERIES / "Ada-mask.jpg")
    page.get_by_label("eyes", exact=True).check()
    page.get_by_label("eyebrows", exact=True).check()
    shoot(page, folder / "page-analyse.webp")
    page.get_by_role("button", name="Look at the candidates").click()
    page.locator("#show-names").click()
    page.locator(".people button").first.click()
    page.get_by_role("tab", name="Flow").click()
    page.get_by_role("heading", name="Ada: what each cell receives").wait_for()
    box = page.locator(".cells").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.3 * box["height"])
    shoot(page, folder / "page-flow.webp")
    page.get_by_role("tab", name="Decide").click()
    page.get_by_label("Title of the case").fill("Till robbery, camera 3")
    page.get_by_label("Moderate support for the same").check()
    page.get_by_label("Reasons").fill("Brows and eyes agree in shape and distance.")
    shoot(page, folder / "page-decide.webp")
    page.get_by_role("button", name="Keep the case").click()
    page.get_by_role("heading", name="Waiting for another").wait_for()


def review(page: Page, address: str, key: str, folder: Path) -> None:
    """Decide the case a second time."""
    sign_in(page, address, key)
    page.get_by_role("link", name="Cases").click()
    page.get_by_role("link", name="Till robbery").click()
    page.get_by_role("tab", name="Flow").click()
    page.locator("#panel").get_by_role("button", name="Show names").click()
    page.get_by_role("tab", name="Decide").click()
    page.get_by_label("About").select_option(label="Ada")
    page.get_by_label("Limited support for the same").check()
    page.get_by_label("Reasons").fill("The brows agree; the rest is covered.")
    page.get_by_label("eyebrows", exact=True).check()
    page.get_by_role("button", name="Record").click()
    page.get_by_role("heading", name="Settled").wait_for()
    shoot(page, folder / "page-case.webp")


def portraits(page: Page, address: str, key: str, folder: Path) -> None:
    """The people page, with somebody chosen."""
    sign_in(page, address, key)
    page.get_by_role("link", name="People").click()
    page.locator(".tile img").nth(11).wait_for()
    page.locator(".tile").first.click()
    page.mouse.move(5, 5)
    shoot(page, folder / "page-people.webp")


def main() -> None:
    """Serve the drawn people on loopback, look, and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as place:
        with Identifier(f"{place}/people.faceflow") as people:
            people.enroll(PEOPLE)
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = create_app(ServerSettings(galleries=Path(place), port=port))
        visits = (
            (story, Role.EXAMINER, "Maria"),
            (review, Role.REVIEWER, "Noor"),
            (portraits, Role.ADMINISTRATOR, "Olu"),
        )
        keys = {who: app.state.keys.create(who, role)[1] for _, role, who in visits}
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=ARGUMENTS
                )
                for visit, _, who in visits:
                    page = browser.new_page(viewport={"width": 1200, "height": 1040})
                    page.set_default_timeout(120_000)
                    visit(page, f"http://127.0.0.1:{port}/", keys[who], folder)
                browser.close()
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
