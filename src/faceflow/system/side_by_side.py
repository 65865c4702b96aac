"""Work on many things side by side, with the answers in the order of the things."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def in_order(
    work: Callable[[Item], Answer],
    items: Iterable[Item],
    *,
    threads: int,
    ahead: int,
    weight: Callable[[Item], int] = lambda _: 1,
) -> Generator[tuple[Item, Answer], None, None]:
    """Each item with what ``work`` makes of it, in order, computed by threads that run ahead.

    While the caller is busy with an answer (writing it somewhere, say) the threads go on, up to
    ``ahead`` items further. Items are taken on the caller's thread, while it asks for an answer.

    Close the iterator, or read it to the end: then the threads are gone. Whatever ends it, an error
    or Ctrl-C among it, waits for no more than the items being worked on.

    Args:
        work: called on one of the threads.
        items: any iterable, taken as far as needed.
        threads: how many items are worked on at a time.
        ahead: the most weight of items that are taken and not answered; one item is always taken.
        weight: of an item.

    Raises:
        Exception: what ``work`` raised for an item, in that item's place, or what ``items`` raised.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="faceflow")
    waiting: deque[tuple[Item, int, Future[Answer]]] = deque()
    held = 0
    try:
        for item in items:
            size = weight(item)
            while waiting and held + size > ahead:
                first, released, future = waiting.popleft()
                yield first, future.result()
                held -= released
            waiting.append((item, size, pool.submit(work, item)))
            held += size
        while waiting:
            first, _, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
