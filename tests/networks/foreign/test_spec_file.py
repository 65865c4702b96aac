"""Descriptions in TOML: what is read, and that every error names its field."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceflow.errors import InputError
from faceflow.networks import MatchDefaults
from faceflow.networks.foreign import OnnxDescription, read_file

GOOD = """
title = "A network"
input_size = [112, 112]
colour = "bgr"
mean = [127.5, 127.5, 127.5]
std = [128, 128.0, 128]
template = "arcface-112"
embedding = "fc1"
patches = "bn2"
upstream = "https://example.org"

[licence]
weights = "unknown"
training_data = "drawn faces"

[defaults]
alpha = 0.3
weighting = "norm"
k = 50
"""


def read(tmp_path: Path, text: str | bytes) -> OnnxDescription:
    path = tmp_path / "network.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_file(path)


def test_all_fields(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert found.input_size == (112, 112)
    assert found.std == (128.0, 128.0, 128.0)
    assert found.colour == "bgr"
    assert found.defaults == MatchDefaults(0.3, "norm", 50)
    assert (found.upstream, found.licence.code) == ("https://example.org", "not stated")
    cautious = read(tmp_path, GOOD.split("[defaults]")[0])
    assert cautious.defaults.weighting == "uniform"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("[112, 112]", "[112]", "input_size"),
        ("[112, 112]", "[112.5, 112]", "input_size"),
        ("[112, 112]", "[-112, 112]", "input_size"),
        ("[112, 112]", "[true, 112]", "input_size"),
        ('"bgr"', '"BGR"', "colour"),
        ('"bgr"', '"gray"', "mean"),
        ("[127.5, 127.5, 127.5]", "127.5", "mean"),
        ("[127.5, 127.5, 127.5]", "[nan, 1, 1]", "mean"),
        ("[128, 128.0, 128]", "[128, 0, 128]", "std"),
        ("[128, 128.0, 128]", "[inf, 1, 1]", "std"),
        ('"arcface-112"', '"lightcnn-128"', "template"),
        ('"arcface-112"', '"arcface"', "template"),
        ('"fc1"', "1", "embedding"),
        ('"bn2"', '" "', "patches"),
        ('"unknown"', '""', "licence.weights"),
        ('training_data = "drawn faces"', "", "licence.training_data"),
        ("alpha = 0.3", "alpha = 1.3", "defaults.alpha"),
        ('"norm"', '"acp"', "defaults.weighting"),
        ("k = 50", "k = 0", "defaults.k"),
        ("k = 50", "k = 1.5", "defaults.k"),
        ("k = 50", "kk = 50", "defaults.k"),
        ("k = 50", "k = 50\nbeta = 1", "defaults.beta"),
        ("title", "titel", "title"),
        ('title = "A network"', 'title = "A network"\nsize = 3', "size"),
        ("[defaults]", "[[defaults]]", "defaults"),
    ],
)
def test_errors_name_the_field(tmp_path: Path, old: str, new: str, field: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=f"(the|no) field {field}( |$|\\.)") as caught:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert "network.toml" in str(caught.value)


def test_an_unknown_weighting_and_template_list_the_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uniform, apc, sc"):
        read(tmp_path, GOOD.replace('"norm"', '"acp"'))
    with pytest.raises(InputError, match=r"arcface-112 \(112x112\)"):
        read(tmp_path, GOOD.replace('"arcface-112"', '"x"'))


@pytest.mark.parametrize("content", [b"\xff\xfe", b"title = ", b"[a]\n[a]"])
def test_files_that_are_no_toml(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"as TOML.*models inspect"):
        read(tmp_path, content)
    with pytest.raises(InputError, match="as TOML"):
        read_file(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a = 1\n" + b"#" * 2**20, "at most 1.0 MB are read"),
        (b"a = " + b"[" * 100_000, "recursion|nest|Invalid"),
        (b'title = "' + b"x" * 5000 + b'"\n', "missing|4000 characters"),
    ],
    ids=["size", "depth", "length"],
)
def test_files_out_of_all_proportion(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        read(tmp_path, content)
    assert len(str(caught.value)) < 2000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "network.toml")
    with pytest.raises(InputError, match="as TOML"):
        read_file(tmp_path / "network.toml")
