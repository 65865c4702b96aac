"""Stage 1 on the device: the same shortlists as the CPU's, and how long one takes."""

from __future__ import annotations

from functools import partial

import numpy as np
from sizes import Here, Sizes, shown

from faceflow.arrays import unit
from faceflow.gallery.device_index import DeviceEmbeddings
from faceflow.gallery.search import exact_search

_SIZE = 256  # of the default network's embeddings
_QUERIES = 64


def searching(here: Here, sizes: Sizes) -> None:
    rng = np.random.default_rng(3)
    for faces in sizes.galleries:
        matrix = rng.standard_normal((faces, _SIZE), np.float32)
        for start in range(0, faces, 65_536):  # widened to float64 meanwhile
            matrix[start : start + 65_536] = unit(matrix[start : start + 65_536])
        queries = unit(matrix[:_QUERIES] + 0.05 * rng.standard_normal((_QUERIES, _SIZE)))
        ids = np.arange(faces)
        there = DeviceEmbeddings.of(matrix, here.device)
        if there is None:
            print(f"{faces:,} faces do not fit")
            continue
        found = exact_search(queries[:4], ids, matrix, sizes.k, on_device=there)
        expected = exact_search(queries[:4], ids, matrix, sizes.k)
        same = np.array_equal(found.face_ids, expected.face_ids)
        same = same and np.array_equal(found.cosine, expected.cosine)

        search = partial(exact_search, ids=ids, matrix=matrix, k=sizes.k)
        one = here.seconds(partial(search, queries[:1], on_device=there), sizes.rounds)
        many = here.seconds(partial(search, queries, on_device=there), sizes.rounds)
        cpu = here.seconds(partial(search, queries[:1]), 2)
        answer = "the same answer to the last bit" if same else "ANOTHER ANSWER than the CPU's"
        print(
            f"{faces:,} faces of {_SIZE}, k = {sizes.k}: one query {shown(one)}, {_QUERIES} "
            f"queries {shown(many)}; the CPU's float32 product for one {shown(cpu)}; {answer}"
        )
