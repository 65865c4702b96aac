from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceflow.errors import InputError
from faceflow.gallery.person_names import MAX_NAME, person_name
from faceflow.gallery.sources import source_label


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "Ada Lovelace",
        "李小龍",
        "محمد علي",
        "Zoë Kravitz",
        "O'Neil-Smith",
        "👩‍🔬",
        "../../x",
        "a/b",
    ],
)
def test_names_of_any_script_are_kept(name: str) -> None:
    assert person_name(name) == name


def test_composed_and_decomposed_are_one_person() -> None:
    assert person_name(unicodedata.normalize("NFD", "Zoë")) == person_name("Zoë")
    assert person_name("  Zoë\u3000") == "Zoë"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("\u200d\u200b", "empty"),
        ("\n", "empty"),
        ("a\nb", r"U\+000A"),
        ("a\x00b", r"U\+0000"),
        ("a\x1b[31m", r"U\+001B"),
        ("a\u202eb", r"U\+202E"),
        ("a\u2028b", r"U\+2028"),
        ("a\udcffb", r"U\+DCFF"),
        ("x" * (MAX_NAME + 1), "201 characters"),
        (b"bytes", "must be text"),
        (None, "must be text"),
    ],
)
def test_names_that_cannot_be_kept(name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        person_name(name)


def test_the_longest_name() -> None:
    assert len(person_name("x" * MAX_NAME)) == MAX_NAME


@given(st.text(alphabet=st.characters(), max_size=30))
def test_a_name_is_kept_as_it_is_or_refused(text: str) -> None:
    try:
        name = person_name(text)
    except InputError:
        return
    assert person_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    name.encode()


def test_sources_are_labels() -> None:
    assert source_label("a b/ü.jpg") == "a b/ü.jpg"
    assert source_label("bad\udcff\x00.jpg") == "bad\\udcff\\x00.jpg"
    assert source_label(os.fsdecode(b"\xff.jpg")).isascii()
    with pytest.raises(InputError, match="4096"):
        source_label("x" * 4097)
    with pytest.raises(InputError, match="text"):
        source_label(3)  # type: ignore[arg-type]
