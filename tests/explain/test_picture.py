from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.explain import Caption, Explanation, flow_picture
from faceflow.explain.drawing.lettering import Lettering
from faceflow.explain.drawing.panels import DIMMEST, DIMMING
from faceflow.explain.drawing.picture import FACE_HEIGHT, GAP, MARGIN
from faceflow.explain.drawing.rows import strongest
from faceflow.features import Grid
from faceflow.matching.transport import Status

Make = Callable[..., Explanation]
Coloured = Callable[..., UInt8]
TOP = round(MARGIN + 65 + 22 + 24)  # where the faces begin


def crop(seed: int = 0, shape: tuple[int, int] = (128, 128)) -> UInt8:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_middle_shows_where_each_query_patch_goes(
    explained: Make, coloured: Coloured, scale: int
) -> None:
    """The orientation of appendix S3, read off the finished picture."""
    flow = np.zeros((16, 16))
    order = np.random.default_rng(3).permutation(16)
    flow[np.arange(16), order] = np.linspace(0.01, 0.1, 16)
    e = explained((4, 4), flow=flow, weighting="uniform")
    query, gallery = np.full((64, 64, 3), 7, dtype=np.uint8), coloured((4, 4))
    image = np.asarray(flow_picture(query, gallery, e, parts=(), scale=scale))

    side = round(FACE_HEIGHT)
    lefts = [round(MARGIN + k * (side + GAP)) for k in range(3)]
    for i in range(16):
        y = scale * (TOP + side * (2 * (i // 4) + 1) // 8)
        x = [scale * (left + side * (2 * (i % 4) + 1) // 8) for left in lefts]
        assert image[y, x[0]].tolist() == [7, 7, 7]
        assert image[y, x[2]].tolist() == [40 + i, 200 - i, 3 * i]
        light = DIMMEST + (1 - DIMMEST) * (i / 15) ** DIMMING
        shown = np.array([40 + order[i], 200 - order[i], 3 * order[i]])
        assert image[y, x[1]] == pytest.approx(shown * light, abs=1)


@pytest.mark.parametrize("grid", [(8, 8), (7, 6), (4, 4), (3, 3), (1, 1)])
@pytest.mark.parametrize("shapes", [((112, 96), (96, 96)), ((57, 101), None), ((3, 3), (1, 1))])
def test_any_grid_and_size(explained: Make, grid: Grid, shapes: Any) -> None:
    query, gallery = shapes
    photo = None if gallery is None else crop(1, gallery)
    image = flow_picture(
        crop(0, query), photo, explained(grid), parts=("weights", "lines"), scale=0.5
    )
    pixels = np.asarray(image)
    assert image.mode == "RGB"
    margin = pixels[:, -10:].reshape(-1, 3)
    assert (margin == margin[0]).all(), "nothing is drawn over the margin"
    assert (pixels[-8:] == margin[0]).all(), "nothing is cut at the end"


def test_a_missing_photo_is_said_and_drawn_as_places(explained: Make) -> None:
    e = explained()
    with_photo = flow_picture(crop(), crop(1), e, scale=1)
    without = flow_picture(crop(), None, e, scale=1)
    assert with_photo.width == without.width
    gallery = np.asarray(without)[TOP : TOP + 240, round(MARGIN + 2 * (240 + GAP)) :][:, :240]
    assert np.ptp(gallery[20:40, 5:50]) < 30, "a blank sheet"
    words = gallery[105:135, 50:190].min()
    assert words < 140, "with words in the middle"


def test_the_same_input_gives_the_same_file(explained: Make) -> None:
    files = []
    for _ in range(2):
        file = io.BytesIO()
        picture = flow_picture(crop(), crop(1), explained(), caption=Caption("Ada", "identified"))
        picture.save(file, "PNG")
        files.append(file.getvalue())
    assert files[0] == files[1]
    for chunk in (b"tIME", b"tEXt", b"iTXt", b"eXIf"):
        assert chunk not in files[0]


@pytest.mark.parametrize(
    "name",
    [
        "Zoë Ångström",
        "李娜",
        "Ирина",
        "\x1b[31mred\x00\n\r\tlines",
        "\ud800 half",
        "\u202ereversed",
        "a" * 5000,
        "long " * 500,
    ],
)
def test_any_name_can_be_written(explained: Make, name: str) -> None:
    caption = Caption(name, "unknown: below the threshold 0.55", 4, 1)
    image = np.asarray(flow_picture(crop(), crop(1), explained(), caption=caption, scale=1))
    assert (image[:, -20:] == image[0, 0]).all(), "the name stays inside the margins"
    assert (image[:60] < 120).any(), "something is written"


def test_words_are_cut_and_wrapped_to_their_width() -> None:
    text = Lettering(2.0)
    assert text.fit("short", 12, 100) == "short"
    cut = text.fit("a rather long title", 12, 60)
    assert cut.endswith("…")
    assert text.width(cut, 12) <= 60
    lines = text.wrap("some words that need more than one line of room", 12, 90)
    assert len(lines) > 1
    assert " ".join(lines) == "some words that need more than one line of room"
    assert all(text.width(line, 12) <= 90 for line in lines)
    assert text.width("scaled", 12) == pytest.approx(Lettering(4.0).width("scaled", 12), rel=0.05)


def test_letters_no_font_has_lose_their_accents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faceflow.explain.drawing.lettering.WIDER_FONTS", ())
    assert Lettering(1.0).width("Zoë", 20) == Lettering(1.0).width("Zoe", 20)


def test_own_font(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    for path in (broken, tmp_path / "missing.ttf"):
        with pytest.raises(InputError, match="cannot be used"):
            Lettering(1.0, path).width("x", 12)


def test_parts_make_the_picture_longer(explained: Make) -> None:
    e = explained()
    plain = flow_picture(crop(), crop(1), e, parts=(), scale=1)
    weights = flow_picture(crop(), crop(1), e, scale=1)
    both = flow_picture(crop(), crop(1), e, parts=("lines", "weights"), scale=1)
    assert plain.height < weights.height < both.height
    double = flow_picture(crop(), crop(1), e, parts=(), scale=2)
    assert double.width == pytest.approx(2 * plain.width, abs=2)


def test_strongest_flows() -> None:
    flow = np.array([[0.1, 0.0, 0.3], [0.0, 0.0, 0.0], [0.3, 0.2, 0.0]])
    assert strongest(flow, 3) == [(0, 2), (2, 0), (2, 1)]
    assert strongest(flow, 99) == [(0, 2), (2, 0), (2, 1), (0, 0)]


def test_nothing_moves(explained: Make) -> None:
    e = explained(flow=np.zeros((16, 16)), status=Status.NO_MASS)
    image = flow_picture(crop(), crop(1), e, parts=("weights", "lines"), scale=1)
    middle = np.asarray(image)[TOP : TOP + 240, round(MARGIN + 240 + GAP) :][:, :240]
    assert middle.max() < 90, "every cell of the reconstruction is dark"


def test_wrong_options(explained: Make) -> None:
    e = explained()
    with pytest.raises(InputError, match="scale is 9"):
        flow_picture(crop(), None, e, scale=9)
    with pytest.raises(InputError, match="lines is 0"):
        flow_picture(crop(), None, e, lines=0)
    with pytest.raises(InputError, match="no part 'arrows'"):
        flow_picture(crop(), None, e, parts=("arrows",))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="query crop has shape"):
        flow_picture(crop()[:, :, 0], None, e)
    with pytest.raises(InputError, match="gallery crop has shape"):
        flow_picture(crop(), crop()[:, :, :2], e)


def test_result_is_an_image(explained: Make) -> None:
    assert isinstance(flow_picture(crop(), None, explained(), scale=0.5), Image.Image)


def test_caption() -> None:
    assert Caption().title == "Two faces compared"
    assert Caption("Ada").title == "Ada"
    assert Caption("b.jpg", heading="a.jpg and b.jpg").title == "a.jpg and b.jpg"
    ranked = Caption("Ada", "identified", 4, 1)
    assert ranked.subtitle == (
        "identified  ·  rank 4 by cosine alone, rank 1 after comparing patches"
    )
