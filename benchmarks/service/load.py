"""What the service costs, and how it bears a crowd.

    python benchmarks/service/load.py cost        # CPU of a search over HTTP / in process
    python benchmarks/service/load.py crowd       # 50 clients at once: answers, p50, p99
    python benchmarks/service/load.py start       # start to ready
    python benchmarks/service/load.py overload    # ten times the capacity, and after it
    python benchmarks/service/load.py memory      # 20,000 requests: memory at the start and the end

A service of the demo's twelve people and the default network (`faceflow models pull`), started as
`faceflow serve`; `--squares` takes drawn squares and a network of a few sums in its place, which
leaves the service itself: `memory` always does. Everything is asked from this machine, so the
clients take processor time too. CPU is that of the service and of all its processes, from /proc;
wall times mean little where other programs run. Linux only.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from faceflow import Identifier
from faceflow.demo import PEOPLE, QUERIES
from faceflow.server.client import Client

ROOT = Path(__file__).resolve().parents[2]
# The squares of the tests, and what the speed benchmarks share.
sys.path[:0] = [str(ROOT / "tests" / "server"), str(ROOT / "benchmarks" / "speed")]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
GALLERY = "people"
SEARCHES = f"/v1/galleries/{GALLERY}/searches"


class Service:
    """A service in a process of its own, with people in its gallery."""

    def __init__(self, folder: Path, *, squares: bool, words: list[str]) -> None:
        self.folder, self.squares = folder, squares
        (folder / "galleries").mkdir(exist_ok=True)
        began = time.monotonic()
        if squares:
            from processes import Process

            self._held = Process(folder / "galleries", limits={"queue": 64, "per_minute": 10**9})
            self.process, self.url = self._held.process, self._held.url
            self.key = self._held.key
        else:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "faceflow", "serve", "--galleries", "galleries"),
                    *("--port", "0", "--offline", "--per-minute", "1000000000", *words),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=folder,
            )
            assert self.process.stdout is not None
            assert self.process.stderr is not None
            said = ""
            while not (found := re.search(r"https?://\S+", said)):
                line = self.process.stderr.readline()
                assert line, said
                said += line
            self.url, self.key = found.group(), ""
            if "kept nowhere" in said:
                self.key = self.process.stdout.readline().strip()
            threading.Thread(target=self.process.stderr.read, daemon=True).start()
        while self.ask("GET", "/readyz")[0] != 200:
            time.sleep(0.005)
        self.start_seconds = time.monotonic() - began
        self.photo = self._photo()

    def _photo(self) -> bytes:
        if self.squares:
            import squares

            return squares.photo((1, 9))
        return (QUERIES / "Ada-mask.jpg").read_bytes()

    def fill(self) -> None:
        """Enroll everybody."""
        with Client(self.url, self.key, patience=600) as client:
            if self.squares:
                import squares

                client.create_gallery(GALLERY, network="blocks")
                for number in range(12):
                    client.enroll(GALLERY, squares.photo((number, 0)), f"P{number}")
                return
            client.create_gallery(GALLERY)
            for person in sorted(PEOPLE.iterdir()):
                for photo in sorted(person.glob("*.jpg")):
                    client.enroll(GALLERY, photo, person.name)

    def body(self) -> tuple[bytes, dict[str, str]]:
        """A search's form and headers."""
        edge = "boundary7MA4YWxk"
        head = 'Content-Disposition: form-data; name="image"; filename="query.jpg"'
        form = f"--{edge}\r\n{head}\r\n\r\n".encode() + self.photo + f"\r\n--{edge}--\r\n".encode()
        return form, {"Content-Type": f"multipart/form-data; boundary={edge}"}

    def connection(self) -> http.client.HTTPConnection:
        """A connection of one's own."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        on: http.client.HTTPConnection | None = None,
    ) -> tuple[int, bytes, float]:
        """Status, answer, and Retry-After (0 without); status 0 where the connection failed."""
        own = on or self.connection()
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        try:
            own.request(method, path, body or None, sent)
            answer = own.getresponse()
            return answer.status, answer.read(), float(answer.getheader("Retry-After") or 0)
        except OSError:
            own.close()
            return 0, b"", 0.0
        finally:
            if on is None:
                own.close()

    def processes(self) -> list[int]:
        """Its process and all below it."""
        parents = {}
        for place in Path("/proc").iterdir():
            if place.name.isdecimal():
                try:
                    fields = (place / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                parents[int(place.name)] = int(fields[1])
        found = [self.process.pid]
        for one in found:
            found += [child for child, parent in parents.items() if parent == one]
        return found

    def cpu(self) -> float:
        """Seconds of processor time of all its processes so far."""
        total = 0
        for pid in self.processes():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def memory(self) -> tuple[float, float]:
        """Resident MB of the service itself, and of its decoders."""
        sizes = []
        for pid in self.processes():
            try:
                sizes.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6)
            except OSError:
                continue
        return sizes[0], sum(sizes[1:])

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@contextmanager
def serving(*, squares: bool = False, words: list[str] | None = None) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as place:
        service = Service(Path(place), squares=squares, words=words or [])
        try:
            service.fill()
            yield service
        finally:
            service.stop()


def cost(squares: bool, count: int, words: list[str]) -> None:
    """CPU of a search over HTTP against identify in process, in turns of ten."""
    del squares
    with serving(words=words) as service:
        form, headers = service.body()

        def search() -> None:
            # A connection each: one that idles is closed by the service.
            assert service.ask("POST", SEARCHES, form, headers)[0] == 201

        path = service.folder / "galleries" / f"{GALLERY}.faceflow"
        with Identifier(path, readonly=True, offline=True) as people:
            for _ in range(3):
                people.identify(service.photo, select="largest")
                search()
            ratios = []
            for _ in range(max(1, count // 10)):
                before = time.process_time()
                for _ in range(10):
                    people.identify(service.photo, select="largest")
                here, before = time.process_time() - before, service.cpu()
                for _ in range(10):
                    search()
                there = service.cpu() - before
                ratios.append(there / here)
                print(f"  in process {100 * here:.1f} ms, service {100 * there:.1f} ms of CPU")
    low, mid, high = np.percentile(ratios, [0, 50, 100])
    print(f"cost: {mid:.3f} times the CPU of identify ({low:.3f} to {high:.3f}; target 1.15)")


def crowd(squares: bool, count: int, words: list[str]) -> None:
    """50 clients, each asking again as soon as it was answered, or as Retry-After says."""
    with serving(squares=squares, words=words) as service:
        form, headers = service.body()
        left = iter(range(count))
        statuses: Counter[int] = Counter()
        answered: list[float] = []
        whole: list[float] = []
        lock = threading.Lock()

        def client(_: int) -> None:
            own = service.connection()
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                first = time.monotonic()
                while True:
                    began = time.monotonic()
                    status, _answer, wait = service.ask("POST", SEARCHES, form, headers, own)
                    now = time.monotonic()
                    with lock:
                        statuses[status] += 1
                        if status == 201:
                            answered.append(now - began)
                            whole.append(now - first)
                    if status != 429:
                        break
                    time.sleep(wait)

        began = time.monotonic()
        with ThreadPoolExecutor(50) as pool:
            list(pool.map(client, range(50)))
        seconds = time.monotonic() - began
    print(f"crowd: {dict(statuses)} in {seconds:.1f} s, {count / seconds:.1f} searches a second")
    for name, times in (("answered requests", answered), ("with waiting as told", whole)):
        p50, p99 = np.percentile(times, [50, 99])
        told = f"p50 {p50:.2f} s, p99 {p99:.2f} s, ratio {p99 / p50:.2f} (target 5)"
        print(f"  {name}: {told}")


def start(squares: bool, count: int, words: list[str]) -> None:
    """From the command to /readyz, networks in the cache, and the CPU it took."""
    with tempfile.TemporaryDirectory() as place:
        first = Service(Path(place), squares=squares, words=words)
        first.fill()
        first.stop()
        seconds, cpu = [], []
        for _ in range(count):
            service = Service(Path(place), squares=squares, words=words)
            seconds.append(service.start_seconds)
            cpu.append(service.cpu())
            service.stop()
    print(
        f"start: ready after {statistics.median(seconds):.2f} s (best {min(seconds):.2f}, "
        f"worst {max(seconds):.2f}; target 2), {statistics.median(cpu):.2f} s of CPU"
    )


def overload(squares: bool, count: int, words: list[str]) -> None:
    """As many requests as ten times the capacity for some seconds, then one at a time."""
    del count
    with serving(squares=squares, words=words) as service:
        form, headers = service.body()

        def one() -> tuple[int, float]:
            began = time.monotonic()
            status = service.ask("POST", SEARCHES, form, headers)[0]
            return status, time.monotonic() - began

        idle = statistics.median(one()[1] for _ in range(5))
        until = time.monotonic() + 5
        with ThreadPoolExecutor(4) as pool:
            done = sum(pool.map(lambda _: _until(one, until), range(4)))
        capacity = done / 5
        statuses: Counter[int] = Counter()
        rate, seconds = 10 * capacity, 8.0
        asked = int(rate * seconds)
        with ThreadPoolExecutor(200) as pool:
            sent: list[float] = []

            def another() -> int:
                sent.append(time.monotonic())
                return one()[0]

            began = time.monotonic()
            waiting = []
            for number in range(asked):
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
                waiting.append(pool.submit(another))
            # While what was sent is still being answered: how soon is a new one answered as ever?
            while True:
                status, took = one()
                over = len(sent) == asked  # where clients fall behind, they go on for longer
                if over and status == 201 and took < max(2 * idle, 0.05):
                    break
                time.sleep(0.02)
            recovered, ended = time.monotonic() - max(sent), max(sent)
            statuses.update(one.result() for one in waiting)
        print(
            f"overload: capacity {capacity:.1f} a second, idle {1000 * idle:.0f} ms; asked "
            f"{asked} in {ended - began:.1f} s: {dict(statuses)}; as before after "
            f"{recovered:.1f} s (target 5)"
        )


def _until(one: object, end: float) -> int:
    assert callable(one)
    done = 0
    while time.monotonic() < end:
        done += one()[0] == 201
    return done


def memory(squares: bool, count: int, words: list[str]) -> None:
    """Four clients; every tenth request is another one than a search."""
    del squares
    with serving(squares=True, words=words) as service:
        form, headers = service.body()
        statuses: Counter[int] = Counter()
        lock = threading.Lock()
        kept: list[tuple[int, float, float]] = []
        left = iter(range(count))

        def client(_: int) -> None:
            own = service.connection()
            search = ""
            while True:
                with lock:
                    number = next(left, None)
                    if number is None:
                        return
                    if number % max(1, count // 20) == 0:
                        kept.append((number, *service.memory()))
                        print("  {:6} requests: {:.1f} MB, decoders {:.1f} MB".format(*kept[-1]))
                        sys.stdout.flush()
                if number % 10 == 9 and search:
                    path = f"{SEARCHES}/{search}" + ("/pictures/aligned" if number % 20 > 9 else "")
                    status, answer, _w = service.ask("GET", path, on=own)
                else:
                    status, answer, _w = service.ask("POST", SEARCHES, form, headers, own)
                    if status == 201:
                        search = json.loads(answer)["id"]
                with lock:
                    statuses[status] += 1

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(client, range(4)))
        kept.append((count, *service.memory()))
    # The first twentieth fills pools and caches.
    settled, last = kept[1] if len(kept) > 2 else kept[0], kept[-1]
    print(
        f"memory: {dict(statuses)}; {settled[1]:.1f} MB after {settled[0]}, {last[1]:.1f} MB after "
        f"{last[0]} requests ({last[1] / settled[1]:.3f} times); decoders {settled[2]:.1f} and "
        f"{last[2]:.1f} MB"
    )


WHAT = {"cost": (cost, 60), "crowd": (crowd, 300), "start": (start, 5), "overload": (overload, 0)}
WHAT |= {"memory": (memory, 20_000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("--count", type=int, help="how many requests, or starts")
    parser.add_argument("--squares", action="store_true", help="a network that costs nothing")
    parser.add_argument("--serve", default="", help='more for faceflow serve, e.g. "--workers 2"')
    given = parser.parse_args()
    from measuring import load, machine

    print(machine())
    work, count = WHAT[given.what]
    work(given.squares, given.count or count, given.serve.split())
    print(load())


if __name__ == "__main__":
    main()
