"""The soak test enrolls what galleries take: otherwise it soaks nothing."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from faceflow.gallery import Gallery

SOAK = Path(__file__).resolve().parents[2] / "tools" / "soak.py"


def test_its_faces_can_be_enrolled_and_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None
    assert spec.loader is not None
    soak = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "soak", soak)  # its dataclasses look there
    spec.loader.exec_module(soak)
    place = tmp_path / "people.faceflow"
    soak.create(place)
    with Gallery.open(place) as gallery:
        faces = [soak.face(n, soak.name("writer", n)) for n in range(3)]
        assert gallery.enroll(faces).added == 3
        found = gallery.search(faces[1].features, k=1)
        assert gallery.person_of(found.face_ids[0]) == [soak.name("writer", 1)]
