"""The sheet of weightings: which maps stand where, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from faceflow.errors import InputError
from faceflow.explain import WeightedPair
from faceflow.explain.drawing import weight_sheet
from faceflow.explain.drawing.panels import weight_heatmap
from faceflow.features import FaceFeatures
from faceflow.matching.weighting import weigh

Make = Callable[..., FaceFeatures]


@pytest.fixture
def pair(random_features: Make) -> WeightedPair:
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    features = random_features(2, landmarks=True)
    return WeightedPair("one", crops[0], features[0], crops[1], features[1])


def test_each_map_is_there_on_the_scale_of_its_pair(pair: WeightedPair) -> None:
    """Found again pixel by pixel, query above gallery, in the order of the names."""
    names = ["apc", "lmk", "norm"]
    side = 104
    sheet = np.asarray(weight_sheet([pair, pair], names, scale=1))
    places = []
    for name in names:
        u, v = (w[0] for w in weigh(name, pair.query, pair.gallery))
        top = float(max(u.max(), v.max()))
        for crop, w in ((pair.query_crop, u), (pair.gallery_crop, v)):
            from faceflow.explain.drawing.panels import resize

            heat = np.asarray(weight_heatmap(resize(crop, (side, side)), w, (8, 8), top=top))
            windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], (side, side))
            hits = [
                (y, x)
                for y, x in np.argwhere(windows[:, :, 0, 0] == heat[0, 0, 0])
                if np.array_equal(sheet[y : y + side, x : x + side], heat)
            ]
            assert len(hits) == 2  # once in each of the two equal pairs
            places.append(hits[0])
    columns = [x for _, x in places[::2]]
    assert columns == sorted(columns) == [x for _, x in places[1::2]]
    assert all(low[0] > high[0] for high, low in zip(places[::2], places[1::2], strict=True))


def test_what_cannot_be_drawn_is_left_out_or_refused(pair: WeightedPair) -> None:
    wide = weight_sheet([pair]).width  # apc, sc, lmk, norm: 128 channels, embeddings of 256
    bare = replace(pair, query=pair.query.with_landmarks(None))
    assert weight_sheet([bare]).width < wide
    with pytest.raises(InputError, match="cc cannot compare"):
        weight_sheet([pair], ["apc", "cc"])
    with pytest.raises(InputError, match="no pair"):
        weight_sheet([])
    with pytest.raises(InputError, match="no weighting"):
        weight_sheet([pair], [])
    with pytest.raises(InputError, match="differ in size or grid"):
        weight_sheet([pair, replace(pair, query_crop=pair.query_crop[:64])])
    with pytest.raises(InputError, match="differ in size or grid"):
        weight_sheet([replace(pair, query=pair.query.regrid((4, 4)))])
