"""Somebody at the pages in a real browser, whose every request and answer is watched."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn

from faceflow.server.app import create_app
from faceflow.server.engine import Analyzers
from faceflow.server.roles import Role
from faceflow.server.settings import Limits, ServerSettings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PEOPLE = {
    "Ida": Role.EXAMINER,
    "Noor": Role.REVIEWER,
    "Olu": Role.REVIEWER,
    "Maria": Role.ADMINISTRATOR,
    "Sam": Role.SEARCHER,
}
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
    """A service that answers."""

    address: str
    app: Any
    keys: dict[str, str]


@contextlib.contextmanager
def serving(folder: Path, analyzers: Analyzers | None = None) -> Iterator[Running]:
    """A service of a folder's galleries on loopback, with a key for everybody."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    limits = Limits(per_minute=100_000)
    app = create_app(ServerSettings(galleries=folder, port=port, limits=limits), analyzers)
    keys = {name: app.state.keys.create(name, role)[1] for name, role in PEOPLE.items()}
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Running(f"http://127.0.0.1:{port}", app, keys)
    finally:
        server.should_exit = True
        thread.join()


class Visitor:
    """Somebody with a key, in a browser window of their own."""

    def __init__(self, browser: Browser, running: Running, name: str, axe: str | None) -> None:
        from playwright.sync_api import expect

        self.running, self.name, self.axe = running, name, axe
        self.context = browser.new_context(viewport={"width": 1366, "height": 900})
        self.context.add_init_script(TELL_OF_THE_POLICY)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.bodies: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.context.on("request", self._note)
        self.page.on("response", self._keep)
        self.page.goto(f"{running.address}/")
        expect(self.page).to_have_url(re.compile("/sign-in"))
        self.page.get_by_label("Key").fill(running.keys[name])
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.locator("#who")).to_contain_text(name)

    def _note(self, request: Any) -> None:
        parts = urlsplit(request.url)
        self.hosts.add(parts.netloc)
        self.asked.append(parts.path)

    def _keep(self, response: Any) -> None:
        if "json" in (response.header_value("content-type") or ""):
            try:
                self.bodies.append(response.text())
            except Exception:  # the page went on before the body was read
                self.bodies.append("")

    def open(self, path: str) -> None:
        """Open a page and wait until it is there."""
        from playwright.sync_api import expect

        self.page.goto(self.running.address + path)
        expect(self.page.locator("#page")).not_to_have_attribute("aria-busy", "true")

    def text(self) -> str:
        """What can be read on the page."""
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

    def fits(self) -> None:
        """No page is wider than its window."""
        beyond = self.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0, f"{self.page.url} is {beyond} pixels too wide"

    def leave(self, *, told: str = "") -> None:
        """Nothing was refused by the policy, nothing went beyond this host, nothing failed.

        Args:
            told: a text that errors may hold, where a test provokes refusals.
        """
        assert [one for one in self.errors if not told or told not in one] == []
        assert self.hosts <= {urlsplit(self.running.address).netloc, ""}
        self.context.close()
