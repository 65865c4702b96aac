"""Every reader on a miniature of the exact layout it is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from faceflow.errors import InputError
from faceflow.evaluation.data import FAMILIES, Dataset, Pair, Photo, read


def plant(root: Path, *names: str) -> None:
    """Files that hold something; readers do not decode photos."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"photo")


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def photo(dataset: Dataset, name: str) -> Photo:
    (found,) = (photo for photo in dataset.photos if photo.path.as_posix().endswith(name))
    return found


def named_pairs(dataset: Dataset) -> list[tuple[str, str, bool, int]]:
    return [
        (dataset.photos[p.a].path.name, dataset.photos[p.b].path.name, p.same, p.fold)
        for p in dataset.pairs
    ]


def reasons(dataset: Dataset) -> dict[str, str]:
    return {item.path.name: item.why for item in dataset.left_out}


def test_folder_per_person(tmp_path: Path) -> None:
    plant(tmp_path, "Ada/1.jpg", "Ada/trip/2.PNG", "Bo/1.jpg", "loose.jpg", "Bo/notes.txt")
    plant(tmp_path, "Bo/.hidden.jpg", ".trash/x.jpg")
    (tmp_path / "Bo" / "empty.jpg").touch()
    (tmp_path / "Nobody").mkdir()
    dataset = read("folder", tmp_path)
    assert [(p.person, p.path.name) for p in dataset.photos] == [
        ("Ada", "1.jpg"),
        ("Ada", "2.PNG"),
        ("Bo", "1.jpg"),
    ]
    assert len({p.source_id for p in dataset.photos}) == 3
    assert reasons(dataset) == {
        "loose.jpg": "it lies in no person's folder",
        "notes.txt": "not a photo",
        "empty.jpg": "an empty file",
    }
    assert "3 photos of 2 people" in dataset.summary()
    assert "1 (an empty file)" in dataset.summary()


def test_one_name_in_two_spellings_is_one_person(tmp_path: Path) -> None:
    plant(tmp_path, "Ren\u00e9e/1.jpg", "Rene\u0301e/2.jpg")
    assert len(read("folder", tmp_path).people) == 1


def lfw(root: Path) -> Path:
    plant(root, *(f"{p}/{p}_{n:04d}.jpg" for p in ("Al-Al_de_A", "Bo") for n in (1, 2, 3)))
    plant(root, "Cy/Cy_0001.jpg")
    return root


PAIRS = ("2\t1", "Bo\t1\t2", "Bo\t3\tCy\t1", "Al-Al_de_A\t1\t3", "Al-Al_de_A\t2\tBo\t3")
EXPECTED = [
    ("Bo_0001.jpg", "Bo_0002.jpg", True, 0),
    ("Bo_0003.jpg", "Cy_0001.jpg", False, 0),
    ("Al-Al_de_A_0001.jpg", "Al-Al_de_A_0003.jpg", True, 1),
    ("Al-Al_de_A_0002.jpg", "Bo_0003.jpg", False, 1),
]


@pytest.mark.parametrize("nested", ["", "lfw", "lfw-deepfunneled/lfw-deepfunneled"])
def test_lfw(tmp_path: Path, nested: str) -> None:
    root = lfw(tmp_path / nested)
    plant(root, "Bo/portrait.jpg", "Cy/Bo_0004.jpg")
    write(root.parent / "pairs.txt", *PAIRS)
    dataset = read("lfw", tmp_path)
    assert (len(dataset), dataset.people) == (7, ("Al-Al_de_A", "Bo", "Cy"))
    assert named_pairs(dataset) == EXPECTED
    assert photo(dataset, "Bo_0002.jpg").source_id == "lfw/Bo_0002"
    assert reasons(dataset) == {
        "portrait.jpg": "the file name does not follow the data set's rule",
        "Bo_0004.jpg": "its name is not its folder's",
    }


def test_lfw_pairs_as_paths_have_the_same_folds(tmp_path: Path) -> None:
    lfw(tmp_path / "lfw")
    rows = [(a, b, str(int(same))) for a, b, same, _ in EXPECTED]
    # As arcface-pytorch writes them: all same pairs first, paths of another machine.
    rows.sort(key=lambda row: row[2], reverse=True)
    listed = write(tmp_path / "list.txt", *(f"x/{a} y/{b} {same}" for a, b, same in rows))
    dataset = read("lfw", tmp_path, pairs=listed)
    # Ten folds over two pairs of a kind: the second stands half-way.
    assert [(p[2], p[3]) for p in named_pairs(dataset)] == [
        (True, 0),
        (True, 5),
        (False, 0),
        (False, 5),
    ]


def test_lfw_listing_selects_and_orders(tmp_path: Path) -> None:
    lfw(tmp_path / "lfw")
    write(tmp_path / "pairs.txt", *PAIRS)
    names = ("Cy/Cy_0001", "Bo/Bo_0003", "Bo/Bo_0001", "Al-Al_de_A/Al-Al_de_A_0009")
    labels = (7, 3, 3, 5)
    listing = write(
        tmp_path / "list.txt",
        *(f"masked/lfw/{name}.jpg,{label}" for name, label in zip(names, labels, strict=True)),
    )
    dataset = read("lfw", tmp_path, listing=listing)
    assert [p.path.name for p in dataset.photos] == ["Cy_0001.jpg", "Bo_0003.jpg", "Bo_0001.jpg"]
    assert named_pairs(dataset) == [EXPECTED[1]]
    why = [item.why for item in dataset.left_out]
    assert why.count("the list names it and it is not there") == 1
    assert why.count("the list does not name it") == 4
    assert why.count("a pair names it and it is not there") == 3


@pytest.mark.parametrize(
    "lines",
    [
        ["a/Bo_0001.jpg,1", "a/Cy_0001.jpg,1"],  # one label, two people
        ["a/Bo_0001.jpg,1", "a/Bo_0002.jpg,2"],  # one person, two labels
        ["a/Bo_0001.jpg,1", "b/Bo_0001.jpg,1"],  # one photo twice
        ["a/Bo_0001.jpg,1", "a/Bo_0001.jpg,1"],
        ["a/Bo_0001.jpg"],
        ["a/Bo.jpg,1"],
        [""],
    ],
)
def test_a_listing_that_contradicts_itself_is_refused(tmp_path: Path, lines: list[str]) -> None:
    lfw(tmp_path / "lfw")
    listing = write(tmp_path / "list.txt", *lines)
    with pytest.raises(InputError):
        read("lfw", tmp_path, listing=listing)


@pytest.mark.parametrize(
    "lines",
    [
        ["1\t1", "Bo\t1\t2"],  # a pair is missing
        ["1\t1", "Bo\t1\t2", "Bo\t1\t2"],  # a same pair in a different pair's place
        ["1\t1", "Bo\tone\t2", "Bo\t1\tCy\t1"],
        ["Bo 1 2"],
        ["0\t0"],
        ["x y 1", "x y 2"],
    ],
)
def test_a_malformed_pair_list_is_refused(tmp_path: Path, lines: list[str]) -> None:
    lfw(tmp_path / "lfw")
    with pytest.raises(InputError):
        read("lfw", tmp_path, pairs=write(tmp_path / "list.txt", *lines))


def test_two_versions_of_lfw_under_one_root_are_refused(tmp_path: Path) -> None:
    lfw(tmp_path / "a")
    lfw(tmp_path / "b")
    with pytest.raises(InputError, match="two photos are called"):
        read("lfw", tmp_path)


@pytest.mark.parametrize("flat", [True, False])
def test_talfw_photos_are_edits_of_lfw(tmp_path: Path, flat: bool) -> None:
    folder = "" if flat else "Bo/"
    plant(tmp_path / "TALFW", f"{folder}Bo_0001.jpg", f"{folder}Bo_0002.jpg")
    pairs = write(tmp_path / "p.txt", "1", "Bo\t1\t2", "Bo\t1\tCy\t1")
    dataset = read("talfw", tmp_path / "TALFW", pairs=pairs)
    assert [p.source_id for p in dataset.photos] == ["lfw/Bo_0001", "lfw/Bo_0002"]
    assert named_pairs(dataset) == [("Bo_0001.jpg", "Bo_0002.jpg", True, 0)]


def test_calfw(tmp_path: Path) -> None:
    root = tmp_path / "calfw"
    plant(root / "aligned images", "Bo_0001.jpg", "Bo_0002.jpg", "Cy_0001.jpg", "Cy_0004.jpg")
    lines = ["Bo_0001.jpg 1", "Bo_0002.jpg 1", "Cy_0001.jpg 2", "Cy_0004.jpg 2"]
    lines += ["Bo_0001.jpg 0", "Cy_0001.jpg 0", "Cy_0001.jpg 0", "Bo_0002.jpg 0"]
    write(root / "pairs_CALFW.txt", *lines)
    dataset = read("calfw", tmp_path)
    assert len(dataset) == 4
    assert dataset.people == ("Bo", "Cy")
    assert photo(dataset, "Bo_0001.jpg").source_id == "calfw/Bo_0001"
    assert [p[2:] for p in named_pairs(dataset)] == [
        (True, 0),
        (True, 5),
        (False, 0),
        (False, 5),
    ]


def test_calfw_folds_are_the_lists_own_numbers(tmp_path: Path) -> None:
    plant(tmp_path / "images", "Bo_0001.jpg", "Bo_0002.jpg", "Cy_0001.jpg")
    same = [line for n in range(1, 11) for line in [f"Bo_0001.jpg {n}", f"Bo_0002.jpg {n}"] * 3]
    different = ["Bo_0001.jpg 0", "Cy_0001.jpg 0"] * 30
    write(tmp_path / "pairs_CALFW.txt", *same, *different)
    pairs = read("calfw", tmp_path).pairs
    assert [p.fold for p in pairs if p.same] == [n for n in range(10) for _ in range(3)]
    assert [p.fold for p in pairs if not p.same] == [n for n in range(10) for _ in range(3)]


@pytest.mark.parametrize("lines", [["Bo_0001.jpg 1"], ["Bo_0001.jpg 1", "Bo_0002.jpg 0"]])
def test_calfw_list_that_does_not_pair_up(tmp_path: Path, lines: list[str]) -> None:
    plant(tmp_path / "images", "Bo_0001.jpg", "Bo_0002.jpg")
    write(tmp_path / "pairs_CALFW.txt", *lines)
    with pytest.raises(InputError):
        read("calfw", tmp_path)


def test_cplfw_leaves_malformed_names_out(tmp_path: Path) -> None:
    root = tmp_path / "cplfw"
    plant(root / "aligned images", "Bo_Xi_1.jpg", "Bo_Xi_2.jpg", "Cy_Xi_3jpg.jpg", "Cy_Xi-2.jpg")
    write(root / "pairs_CPLFW.txt", "Bo_Xi_1.jpg 1", "Bo_Xi_2.jpg 1")
    dataset = read("cplfw", root)
    assert dataset.people == ("Bo_Xi",)
    assert named_pairs(dataset) == [("Bo_Xi_1.jpg", "Bo_Xi_2.jpg", True, 0)]
    assert len(dataset.left_out) == 2


def test_agedb(tmp_path: Path) -> None:
    plant(tmp_path / "AgeDB", "11706_OliviaHussey_31_f.jpg", "7_Jean_Paul_Sartre_60_m.jpg")
    plant(tmp_path / "AgeDB", "8_nobody.jpg")
    dataset = read("agedb", tmp_path)
    assert [(p.person, p.age) for p in dataset.photos] == [
        ("OliviaHussey", 31),
        ("Jean_Paul_Sartre", 60),
    ]
    assert list(reasons(dataset)) == ["8_nobody.jpg"]


def cfp(root: Path) -> Path:
    images = root / "Data" / "Images"
    people, frontal, profile = ("001", "002"), (1, 2, 3), (1, 2)
    lists: dict[str, list[str]] = {"F": [], "P": []}
    for person in people:
        for letter, kind, numbers in (("F", "frontal", frontal), ("P", "profile", profile)):
            for n in numbers:
                plant(images, f"{person}/{kind}/{n:02d}.jpg")
                lists[letter].append(f"../Data/Images/{person}/{kind}/{n:02d}.jpg")
    for letter, paths in lists.items():
        rows = [f"{n} {path}  " for n, path in enumerate(paths, start=1)]
        write(root / "Protocol" / f"Pair_list_{letter}.txt", *rows)
    for protocol in ("FF", "FP"):
        for split in ("01", "02"):
            folder = root / "Protocol" / "Split" / protocol / split
            write(folder / "same.txt", "1,2", "4,4" if protocol == "FP" else "4,6")
            write(folder / "diff.txt", "1,4")
    return root


def test_cfp(tmp_path: Path) -> None:
    root = cfp(tmp_path / "cfp-dataset")
    dataset = read("cfp", tmp_path)
    assert dataset.name == "CFP-FP"
    assert "frontal: 6 of 2 people; profile: 4 of 2 people" in dataset.summary()
    assert len({p.source_id for p in dataset.photos}) == 10
    below = [p.path.relative_to(root / "Data" / "Images").as_posix() for p in dataset.photos]
    assert [(below[p.a], below[p.b], p.same, p.fold) for p in dataset.pairs][:3] == [
        ("001/frontal/01.jpg", "001/profile/02.jpg", True, 0),
        ("002/frontal/01.jpg", "002/profile/02.jpg", True, 0),
        ("001/frontal/01.jpg", "002/profile/02.jpg", False, 0),
    ]
    for pair in dataset.pairs:
        assert pair.same == (dataset.photos[pair.a].person == dataset.photos[pair.b].person)
    frontal = read("cfp", tmp_path, protocol="FF")
    assert {frontal.photos[p.b].condition for p in frontal.pairs} == {"frontal"}
    assert {p.fold for p in frontal.pairs} == {0, 1}


def test_cfp_refuses_unknown_numbers_and_protocols(tmp_path: Path) -> None:
    root = cfp(tmp_path)
    with pytest.raises(InputError, match="FP, FF"):
        read("cfp", root, protocol="PP")
    write(root / "Protocol" / "Split" / "FP" / "01" / "same.txt", "1,99")
    with pytest.raises(InputError, match=r"same\.txt, line 1"):
        read("cfp", root)


def test_cfp_with_a_photo_missing_leaves_its_pairs_out(tmp_path: Path) -> None:
    root = cfp(tmp_path)
    (root / "Data" / "Images" / "001" / "profile" / "02.jpg").unlink()
    dataset = read("cfp", root)
    assert len(dataset.pairs) == 4
    assert [item.why for item in dataset.left_out] == ["a pair names it and it is not there"] * 2


def test_cfp_of_another_shape_is_refused_or_left_out(tmp_path: Path) -> None:
    root = cfp(tmp_path)
    plant(root / "Data" / "Images", "001/profile/more/01.jpg", "002/above/01.jpg")
    dataset = read("cfp", root)
    assert [item.why for item in dataset.left_out] == [
        "it is neither in frontal nor in profile"
    ] * 2
    write(root / "Protocol" / "Pair_list_P.txt", "one ../Data/Images/001/profile/01.jpg")
    with pytest.raises(InputError, match="a number and a path"):
        read("cfp", root)
    (tmp_path / "bare" / "Data" / "Images" / "001" / "frontal").mkdir(parents=True)
    (tmp_path / "bare" / "Protocol" / "Split" / "FP").mkdir(parents=True)
    for letter in "FP":
        write(tmp_path / "bare" / "Protocol" / f"Pair_list_{letter}.txt", "1 a/b/c.jpg")
    with pytest.raises(InputError, match="holds no split"):
        read("cfp", tmp_path / "bare")


def test_a_pair_beyond_the_photos_is_refused(tmp_path: Path) -> None:
    one = Photo(tmp_path / "a.jpg", "bo", "a")
    with pytest.raises(InputError, match="beyond the 1"):
        Dataset("x", tmp_path, (one,), pairs=(Pair(0, 1, True, 0),))


def test_mlfw_photos_are_edits_of_calfw(tmp_path: Path) -> None:
    root = tmp_path / "MLFW"
    plant(root / "aligned", "Bo_Xi_0001_0001.jpg", "Bo_Xi_0001_0002.jpg", "Cy_0003_0000.jpg")
    write(
        root / "pairs.txt",
        "Bo_Xi_0001_0001.jpg Bo_Xi_0001_0002.jpg 1",
        "aligned/Bo_Xi_0001_0001.jpg aligned/Cy_0003_0000.jpg 0",
        "Bo_Xi_0001_0001.jpg Cy_0004_0000.jpg 0",
    )
    dataset = read("mlfw", tmp_path)
    assert dataset.people == ("Bo_Xi", "Cy")
    assert [p.source_id for p in dataset.photos] == [
        "calfw/Bo_Xi_0001",
        "calfw/Bo_Xi_0001",
        "calfw/Cy_0003",
    ]
    assert [p.same for p in dataset.pairs] == [True, False]
    assert reasons(dataset) == {"Cy_0004_0000.jpg": "a pair names it and it is not there"}


def test_rof(tmp_path: Path) -> None:
    plant(
        tmp_path, "neutral/bo/1.jpg", "neutral/cy/1.jpg", "sunglasses/bo/1.jpg", "masked/bo/1.jpg"
    )
    dataset = read("rof", tmp_path)
    assert dataset.conditions == ("masked", "neutral", "sunglasses")
    assert len(dataset.photos_with("neutral")) == 2
    assert len({p.source_id for p in dataset.photos}) == 4
    with pytest.raises(InputError, match="masked, neutral, sunglasses"):
        dataset.photos_with("hat")


def test_rmfrd(tmp_path: Path) -> None:
    base = tmp_path / "self-built-masked-face-recognition-dataset"
    plant(base, "AFDB_masked_face_dataset/bo/0.jpg", "AFDB_face_dataset/bo/0.jpg")
    dataset = read("rmfrd", tmp_path)
    assert [(p.person, p.condition) for p in dataset.photos] == [
        ("bo", "neutral"),
        ("bo", "masked"),
    ]
    plant(tmp_path / "like", "with/bo/0.jpg", "without/bo/0.jpg")
    like = read("rmfrd", tmp_path / "like", masked="with", neutral="without")
    assert like.conditions == ("masked", "neutral")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_missing_folder_says_where_to_get_the_data(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as raised:
        read(name, tmp_path / "nowhere")
    assert FAMILIES[name].origin.where in str(raised.value)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"bin"}))
def test_an_empty_folder_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        read(name, tmp_path)


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    lfw(tmp_path)
    plant(tmp_path / "calfw" / "images", "Bo_0001.jpg")
    calls: list[Callable[[], Dataset]] = [
        lambda: read("lfw", tmp_path, pairs=tmp_path / "none.txt"),
        lambda: read("lfw", tmp_path, listing=tmp_path / "none.txt"),
        lambda: read("calfw", tmp_path / "calfw"),
    ]
    for call in calls:
        with pytest.raises(InputError, match="there is no file"):
            call()


def test_unknown_names_and_options_list_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder, lfw, calfw"):
        read("lwf", tmp_path)
    with pytest.raises(InputError, match="pairs, listing"):
        read("lfw", tmp_path, pair=tmp_path)
    with pytest.raises(InputError, match="it takes none"):
        read("agedb", tmp_path, pairs=tmp_path)


def test_text_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    lfw(tmp_path)
    broken = tmp_path / "pairs.bin"
    broken.write_bytes(b"\xff\xfe\x00\x81")
    readers: list[Callable[[], Dataset]] = [
        lambda: read("lfw", tmp_path, pairs=broken),
        lambda: read("lfw", tmp_path, listing=broken),
    ]
    for reader in readers:
        with pytest.raises(InputError, match="cannot be read"):
            reader()
