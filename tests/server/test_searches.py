"""Searches: their numbers, their reasons, and that they are those of the library."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import squares
from PIL import Image

from faceflow.gallery import Gallery
from faceflow.matching.identification import identify
from faceflow.server.service import Service

Ask = Any


def test_a_search_is_what_identify_says(people: Ask, service: Service) -> None:
    """One score through both doors, to the last bit."""
    found = people.search((2, -5))
    assert found["candidates"][0]["person"]["name"] == "Person 2"
    features = squares.analyzer().analyze(squares.photo((2, -5)))[0].features
    with Gallery.open(service.engine.places.location("a"), readonly=True) as gallery:
        (expected,) = identify(features, gallery)
        assert found["revision"] == gallery.revision
        numbers = {person.name: f"p{person.person_id}" for person in gallery.people()}
    shown = [
        (one["person"]["name"], one["person"]["id"], one["face_id"], one["score"])
        for one in found["candidates"]
    ]
    assert shown == [
        (match.person, numbers[match.person], match.face_id, match.score)
        for match in expected.people
    ]
    for one, match in zip(found["candidates"], expected.people, strict=True):
        assert (one["rank"], one["stage1_rank"]) == (match.rank, match.stage1_rank)
        assert one["parts"]["cosine"] == match.cosine
        assert one["parts"]["emd"] == match.emd
        assert sum(one["parts"]["terms"].values()) == pytest.approx(one["score"], abs=1e-12)
        assert {face["face_id"] for face in one["faces"]} == {
            face.face_id for face in expected.faces if face.person == match.person
        }
    scores = [one["score"] for one in found["candidates"]]
    margins = [one["margin"] for one in found["candidates"]]
    assert margins[:-1] == [a - b for a, b in itertools.pairwise(scores)]
    assert margins[-1] is None


def test_the_answer_can_be_had_again(people: Ask) -> None:
    found = people.search((1, 7))
    assert people("GET", f"/v1/galleries/a/searches/{found['id']}") == found


def test_faces_of_a_photo_can_be_chosen(people: Ask) -> None:
    both = people.search((1, 4), (3, 4))
    assert len(both["query"]["faces"]) == 2
    for number, person in enumerate(("Person 1", "Person 3")):
        found = people.search((1, 4), (3, 4), face=str(number))
        assert found["query"]["chosen"] == number
        assert found["candidates"][0]["person"]["name"] == person
    people.search((1, 4), face="7", status=422)
    people.search((1, 4), face="ears", status=422)


def test_thresholds_decide(people: Ask) -> None:
    assert people.search((1, 4))["status"] == "ranked"
    assert people.search((1, 4), threshold="0.5")["status"] == "identified"
    unknown = people.search((77, 4), threshold="0.99")
    assert unknown["status"] == "unknown"
    assert unknown["threshold"] == 0.99


def test_an_empty_gallery_answers(admin: Ask) -> None:
    found = admin.search((1, 1), threshold="0.5")
    assert (found["status"], found["candidates"]) == ("empty", [])


@pytest.mark.parametrize(
    "fields",
    [
        {"k": "0"},
        {"k": "100000"},
        {"k": "x"},
        {"alpha": "2"},
        {"alpha": "nan"},
        {"weighting": "magic"},
        {"patches": "baked"},
        {"visible_share": "-1"},
        {"epsilon": "0"},
        {"top": "0"},
        {"threshold": "nan"},
        {"whole_image": "perhaps"},
    ],
)
def test_options_that_cannot_be(people: Ask, fields: dict[str, str]) -> None:
    people.search((1, 1), status=422, **fields)


def test_options_change_the_answer_and_are_told(people: Ask) -> None:
    found = people.search((1, 9), alpha="0.9", weighting="apc", k="3", epsilon="0.1")
    assert found["options"] == {
        "alpha": 0.9,
        "weighting": "apc",
        "k": 3,
        "patches": "raw",
        "visible_share": 0.0,
        "epsilon": 0.1,
        "patch_model": None,
    }
    assert sum(len(one["faces"]) for one in found["candidates"]) == 3


@pytest.mark.parametrize("alpha", ["0", "0.3", "1"])
def test_contributions_and_terms_add_up(people: Ask, alpha: str) -> None:
    found = people.search((2, -5), alpha=alpha, weighting="apc")
    best = found["candidates"][0]
    path = f"/v1/galleries/a/searches/{found['id']}/explanation?face_id={best['face_id']}"
    why = people("GET", path)
    assert why["recorded_score"] == best["score"]
    assert why["score"] == pytest.approx(best["score"], abs=2e-6)
    assert sum(why["terms"].values()) == pytest.approx(why["score"], abs=1e-12)
    assert sum(why["contributions"]) == pytest.approx(why["terms"]["emd"], abs=1e-12)
    assert sum(why["gallery_contributions"]) == pytest.approx(why["terms"]["emd"], abs=1e-12)
    shown = sum(cell["contribution"] for cell in why["flow"])
    assert shown == pytest.approx(why["terms"]["emd"], abs=1e-7)
    cells = why["grid"][0] * why["grid"][1]
    mass = np.zeros((cells, cells))
    for cell in why["flow"]:
        mass[cell["i"], cell["j"]] = cell["mass"]
        assert cell["contribution"] == pytest.approx(
            float(alpha) * cell["mass"] * cell["similarity"], abs=1e-12
        )
    np.testing.assert_allclose(mass.sum(axis=1), why["weights"]["u"], atol=2e-3)


def test_a_comparison_adds_up_to_the_difference(people: Ask) -> None:
    found = people.search((2, -5), alpha="0.5", weighting="apc")
    a, b = (one["face_id"] for one in found["candidates"][:2])
    path = f"/v1/galleries/a/searches/{found['id']}"
    versus = people("GET", f"{path}/comparison?a={a}&b={b}")
    why_a, why_b = (people("GET", f"{path}/explanation?face_id={face}") for face in (a, b))
    assert versus["difference"] == why_a["score"] - why_b["score"]
    assert sum(versus["terms"].values()) == pytest.approx(versus["difference"], abs=1e-12)
    assert sum(versus["cells"]) == pytest.approx(versus["terms"]["emd"], abs=1e-12)
    back = people("GET", f"{path}/comparison?a={b}&b={a}")
    assert back["cells"] == [-cell for cell in versus["cells"]]


def test_what_if_is_another_search_and_is_not_kept(people: Ask) -> None:
    found = people.search((2, 5), alpha="1", weighting="apc")
    path = f"/v1/galleries/a/searches/{found['id']}"
    same = people("POST", f"{path}/what-if", json={"hidden": []})
    assert same["recorded"] is False
    for one in same["candidates"]:
        assert one["score"] == pytest.approx(one["recorded_score"], abs=2e-6)
    half = people("POST", f"{path}/what-if", json={"hidden": list(range(8, 16))})
    assert any(abs(c["score"] - c["recorded_score"]) > 0.01 for c in half["candidates"])
    features = squares.analyzer().analyze(squares.photo((2, 5)))[0].features
    assert (features.hidden(range(8, 16)).patches[0, 8:] == 0).all()
    nothing = people("POST", f"{path}/what-if", json={"hidden": list(range(16))})
    assert all(abs(one["parts"]["emd"]) < 1e-6 for one in nothing["candidates"])
    assert people("GET", path) == found
    people("POST", f"{path}/what-if", status=422, json={"hidden": [16]})


def test_reasons_of_what_is_not_there(people: Ask) -> None:
    found = people.search((2, 5), k="2")
    path = f"/v1/galleries/a/searches/{found['id']}"
    shown = {face["face_id"] for one in found["candidates"] for face in one["faces"]}
    (other, *_) = set(range(1, 9)) - shown
    people("GET", f"{path}/explanation?face_id={other}", status=404)
    people("GET", f"{path}/explanation?face_id=0", status=422)
    people("GET", "/v1/galleries/a/searches/s_0123456789abcdef", status=404)


def test_pictures(people: Ask) -> None:
    found = people.search((2, 5))
    path = f"/v1/galleries/a/searches/{found['id']}/pictures"
    aligned = Image.open(BytesIO(people("GET", f"{path}/aligned")))
    assert (aligned.format, aligned.size) == ("PNG", (128, 128))
    assert Image.open(BytesIO(people("GET", f"{path}/original"))).format == "JPEG"
    people("GET", f"{path}/naked", status=422)


def test_names_are_those_of_now(people: Ask) -> None:
    found = people.search((2, 5))
    path = f"/v1/galleries/a/searches/{found['id']}"
    first, second = (one["person"]["id"] for one in found["candidates"][:2])
    people("PATCH", f"/v1/galleries/a/people/{first}", json={"name": "Renamed"})
    people("DELETE", f"/v1/galleries/a/people/{second}")
    again = people("GET", path)
    assert [one["person"]["name"] for one in again["candidates"][:2]] == ["Renamed", None]
    assert [one["score"] for one in again["candidates"]] == [
        one["score"] for one in found["candidates"]
    ]
    gone = found["candidates"][1]["face_id"]
    people("GET", f"{path}/explanation?face_id={gone}", status=404)


def test_searches_end(people: Ask, service: Service) -> None:
    found = people.search((2, 5))
    kept, forgotten = people.search((2, 6)), people.search((2, 7))
    path = "/v1/galleries/a/searches"
    people("DELETE", f"{path}/{forgotten['id']}", status=204)
    people("GET", f"{path}/{forgotten['id']}", status=404)
    with service.state.writing() as connection:
        service.searches.pin(connection, "a", kept["id"])
        connection.execute(
            "UPDATE search SET expires = ? WHERE id = ?",
            ((datetime.now(UTC) - timedelta(seconds=1)).isoformat(), found["id"]),
        )
    people("GET", f"{path}/{found['id']}", status=404)
    service.sweep()
    assert people("GET", f"{path}/{kept['id']}")["expires"] is None
    people("DELETE", f"{path}/{kept['id']}", status=404)
    with service.state.reading() as connection:
        assert connection.execute("SELECT count(*) FROM search").fetchone()[0] == 1


def test_a_mark_is_honoured_and_shown(people: Ask) -> None:
    found = people.search((2, 5), threshold="0.6")
    best = found["candidates"][0]["person"]["id"]
    mark = people(
        "POST",
        "/v1/galleries/a/marks",
        status=201,
        json={"search": found["id"], "person": best, "note": "another scar"},
    )
    assert people("GET", "/v1/galleries/a/marks")["items"] == [mark]
    # The same photo, the same picture saved anew, and another photo of the same person.
    again = people.search((2, 5), threshold="0.6")
    jpeg = people(
        "POST",
        "/v1/galleries/a/searches",
        status=201,
        files={"image": ("q.png", squares.photo((2, 5), side=104))},
    )
    other = people.search((2, -6))
    for one in (again, jpeg):
        assert one["rejected"] == [
            {"person": one["candidates"][0]["person"], "mark_id": mark["id"]}
        ]
        assert one["candidates"][0]["marked_not_this_person"]
    assert again["status"] == "unknown"
    assert again["candidates"][0]["score"] == found["candidates"][0]["score"]
    assert other["rejected"] == []
    people("DELETE", f"/v1/galleries/a/marks/{mark['id']}", status=204)
    assert people.search((2, 5))["rejected"] == []


def test_a_mark_is_for_candidates_alone(people: Ask) -> None:
    found = people.search((2, 5), top="1")
    others = {"p1", "p2", "p3", "p4"} - {one["person"]["id"] for one in found["candidates"]}
    for person in (min(others), "p99"):
        json = {"search": found["id"], "person": person}
        people("POST", "/v1/galleries/a/marks", status=404, json=json)


def test_two_photos_are_compared(people: Ask) -> None:
    files = {
        "a": ("a.png", squares.photo((1, 1))),
        "b": ("b.png", squares.photo((1, 2))),
    }
    same = people("POST", "/v1/galleries/a/verify", files=files, data={"threshold": "0.5"})
    assert same["same"] is True
    assert sum(same["parts"]["terms"].values()) == pytest.approx(same["score"], abs=1e-12)
    files["b"] = ("b.png", squares.photo((2, 2)))
    other = people("POST", "/v1/galleries/a/verify", files=files)
    assert other["same"] is None
    assert other["score"] < same["score"]
    people("POST", "/v1/galleries/a/verify", status=422, files={"a": files["a"]})
