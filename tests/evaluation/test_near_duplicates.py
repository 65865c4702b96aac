"""Near-duplicates: drawn scenes with known edits, and LFW's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from faceflow.arrays import UInt8
from faceflow.errors import InputError
from faceflow.evaluation.data import Photo, near_duplicates
from faceflow.evaluation.data.near_duplicates import find_near_duplicates


def scene(seed: int) -> UInt8:
    """A picture of soft and sharp shapes, as rich in structure as a photo."""
    rng = np.random.default_rng(seed)
    image = np.full((180, 160, 3), rng.integers(40, 200, 3), dtype=np.uint8)
    for _ in range(40):
        centre = tuple(int(v) for v in rng.integers(0, 160, 2))
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        cv2.ellipse(
            image, centre, tuple(int(v) for v in rng.integers(4, 30, 2)),
            float(rng.integers(180)), 0, 360, colour, -1,
        )  # fmt: skip
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), dtype=np.uint8)


def encoded(image: cv2.typing.MatLike, quality: int = 90) -> bytes:
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def photo(name: str, content: bytes, person: str = "bo") -> Photo:
    return Photo(Path(f"{name}.bin"), person, name, content=content)


def warped(image: UInt8, degrees: float, scale: float, shift: tuple[float, float]) -> UInt8:
    h, w = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), degrees, scale)
    matrix[:, 2] += np.array(shift)
    moved = cv2.warpAffine(image, matrix, (w, h), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(moved, dtype=np.uint8)


def covered(image: UInt8, top: int, bottom: int) -> UInt8:
    cover = image.copy()
    cover[top:bottom, 20:140] = (200, 160, 90)
    return cover


EDITS: dict[str, tuple[str, Callable[[UInt8], bytes]]] = {
    "recompressed": ("photo", lambda image: encoded(image, 30)),
    "brighter": ("photo", lambda i: encoded((255 * (i / 255.0) ** 0.6).astype(np.uint8))),
    "smaller": ("photo", lambda i: encoded(cv2.resize(i, None, fx=0.5, fy=0.5))),
    "moved": ("photo", lambda i: encoded(warped(i, 2, 1.03, (2, -2)))),
    "grey": ("photo", lambda i: encoded(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY))),
    "glasses": ("photo", lambda i: encoded(covered(i, 60, 80))),
    "masked": ("part", lambda i: encoded(covered(i, 90, 175))),
    "hatted": ("part", lambda i: encoded(covered(i, 5, 88))),
}


@pytest.mark.parametrize("edit", EDITS)
def test_finds_an_edit_among_others(edit: str) -> None:
    kind, make = EDITS[edit]
    found = 0
    for seed in range(5):
        others = [photo(f"other {n}", encoded(scene(100 + n))) for n in range(10)]
        original = scene(seed)
        pair = [photo("original", encoded(original)), photo("edit", make(original))]
        result = find_near_duplicates([*others[:5], pair[0], *others[5:], pair[1]])
        assert set(result.links) <= {("original", "edit")}
        found += len(result.pairs)
        for item in result.pairs:
            assert (item.a, item.b) == (5, 11)
            assert item.kind in (kind, "photo")
            assert item.correlation >= near_duplicates.WHOLE_LIMIT
    assert found == 5


def test_equal_files_speak_for_each_other() -> None:
    original = scene(1)
    content, again = encoded(original), encoded(original, 60)
    photos = [
        photo("a", content),
        photo("b", again, "cy"),
        photo("c", content, "cy"),
        photo("d", encoded(scene(2))),
        photo("e", again),
    ]
    result = find_near_duplicates(photos)
    kinds = {(pair.a, pair.b): pair.kind for pair in result.pairs}
    assert kinds == {
        (0, 2): "file",
        (1, 4): "file",
        (0, 1): "photo",
        (0, 4): "photo",
        (1, 2): "photo",
        (2, 4): "photo",
    }
    assert {(pair.a, pair.b) for pair in result.misfiled} == {(0, 1), (0, 2), (1, 4), (2, 4)}
    assert "6 near-duplicate pairs among 5 photos (2 equal files, 4 the same" in result.summary()
    assert "4 under two names" in result.summary()


def test_known_sources_are_not_reported() -> None:
    original = scene(1)
    source = Photo(Path("a"), "bo", "one", content=encoded(original))
    edit = Photo(Path("b"), "bo", "one", content=encoded(original, 50))
    assert find_near_duplicates([source, edit]).pairs == ()


def test_photos_without_structure_are_not_alike() -> None:
    flat = [photo(f"flat {n}", encoded(np.full((50, 50, 3), 40 * n, np.uint8))) for n in range(4)]
    assert find_near_duplicates(flat).pairs == ()


def test_unreadable_photos_are_reported(tmp_path: Path) -> None:
    photos = [
        photo("good", encoded(scene(1))),
        photo("damaged", b"\xff\xd8 no photo"),
        Photo(tmp_path / "absent.jpg", "bo", "absent"),
    ]
    seen: list[tuple[int, int]] = []
    result = find_near_duplicates(photos, progress=lambda *n: seen.append(n))
    assert [item.path.name for item in result.unreadable] == ["damaged.bin", "absent.jpg"]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert "2 photos could not be read" in result.summary()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [photo(f"{n}", encoded(scene(n % 6), 90 - n)) for n in range(15)]
    whole = find_near_duplicates(photos)
    assert len(whole.pairs) == 3 * 3 + 3 * 1  # three scenes thrice, three twice
    monkeypatch.setattr(near_duplicates, "_CELLS", 20)
    assert find_near_duplicates(photos).pairs == whole.pairs


def test_a_picture_that_slides_away_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    grey = np.asarray(cv2.resize(scene(1)[..., 0], (64, 64)), dtype=np.uint8)
    assert near_duplicates._registered(grey, grey, 10) == pytest.approx(1)
    away = np.array([[1, 0, 40], [0, 1, 0]], dtype=np.float32)
    monkeypatch.setattr(cv2, "findTransformECC", lambda *_: (1.0, away))
    assert near_duplicates._registered(grey, grey, 10) == -1


def test_no_photo_is_an_error() -> None:
    with pytest.raises(InputError):
        find_near_duplicates([])


# Checked by eye. The second group is filed under two people each: LFW's own mistakes.
LFW_PAIRS = [
    ("Ari_Fleischer_0006", "Ari_Fleischer_0011"),
    ("Britney_Spears_0001", "Britney_Spears_0002"),
    ("Julianne_Moore_0001", "Julianne_Moore_0008"),
    ("Julianne_Moore_0013", "Julianne_Moore_0015"),
    ("Julie_Gerberding_0004", "Julie_Gerberding_0006"),
    ("Leslie_Ann_Woodward_0001", "Leslie_Ann_Woodward_0002"),
    ("Prince_Willem-Alexander_0002", "Prince_Willem-Alexander_0003"),
    ("Renee_Zellweger_0010", "Renee_Zellweger_0013"),
    ("Serena_Williams_0002", "Serena_Williams_0016"),
    ("Serena_Williams_0029", "Serena_Williams_0031"),
]
LFW_MISFILED = [
    ("Andrew_Caldecott_0001", "Andrew_Gilligan_0001"),
    ("Bart_Hendricks_0001", "Ricky_Ray_0001"),
    ("Carlos_Beltran_0001", "Raul_Ibanez_0001"),
    ("Emmy_Rossum_0001", "Eva_Amurri_0001"),
    ("Gabrielle_Rose_0001", "Martha_Bowen_0002"),
]


def test_lfw_holds_these_and_no_others(shared_dir: Path) -> None:
    """Everyone in those pairs, and enough others to be mistaken for them."""
    root = shared_dir / "data" / "lfw"
    names = {name[:-5] for pair in LFW_PAIRS + LFW_MISFILED for name in pair}
    names |= {path.name for path in sorted(root.iterdir())[:300]}
    photos = [
        Photo(path, name, path.stem)
        for name in sorted(names)
        for path in sorted((root / name).iterdir())
    ]
    result = find_near_duplicates(photos)
    assert set(result.links) == {*LFW_PAIRS, *LFW_MISFILED}
    assert len(result.misfiled) == len(LFW_MISFILED)
    assert not result.unreadable
