"""Pictures of the examiner's pages for the documentation, of the drawn people.

    python tools/page_pictures.py docs/img

Needs the extra ``server``, playwright, and the system's Chromium.
"""

from __future__ import annotations

import argparse
import io
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
    page.wait_for_timeout(800)
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    shot.save(path, quality=82, method=6)


def story(page: Page, address: str, key: str, folder: Path) -> None:
    """Go the examiner's way and take the pictures."""
    page.goto(address)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
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
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.45 * box["height"])
    shoot(page, folder / "page-flow.webp")
    page.get_by_role("tab", name="Decide").click()
    page.get_by_label("Title of the case").fill("Till robbery, camera 3")
    page.get_by_label("Moderate support for the same").check()
    page.get_by_label("Reasons").fill("Brows and eyes agree in shape and distance.")
    shoot(page, folder / "page-decide.webp")


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
        key = app.state.keys.create("Maria", Role.EXAMINER)[1]
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=ARGUMENTS
                )
                page = browser.new_page(viewport={"width": 1200, "height": 700})
                page.set_default_timeout(60_000)
                story(page, f"http://127.0.0.1:{port}/", key, folder)
                browser.close()
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
