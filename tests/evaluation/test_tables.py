"""The paper's numbers, and tables that go on when something is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faceflow import networks
from faceflow.analyzer import FaceAnalyzer
from faceflow.errors import FaceflowError, InputError, WeightsError
from faceflow.evaluation import laboratory
from faceflow.evaluation.cells import Bench
from faceflow.evaluation.experiment import Experiment, Row
from faceflow.evaluation.laboratory import DataSource, Laboratory
from faceflow.evaluation.paper import NOTES, TABLES, paper_rows, paper_table
from faceflow.evaluation.sweeps import ablation, identification_tables
from faceflow.evaluation.tables import PAPER_NETWORKS, TableOptions, experiment_of, paper_tables
from faceflow.matching.options import MatchOptions

BASE = Experiment("lfw", "mask", "lightcnn-v4", MatchOptions(0.5, "uniform", 7))


def test_the_papers_rows_are_all_there() -> None:
    counts = {name: len(paper_table(name)) for name in TABLES}
    assert counts == {
        "S1": 14, "S2": 36, "S3": 36, "S4": 48, "S5": 12, "S6": 6, "S7": 16, "S8": 6,
    }  # fmt: skip
    assert sum(counts.values()) == len(paper_rows())
    assert NOTES.keys() == set(TABLES)
    for row in paper_rows():
        empty = row.p_at_1 is None or (row.table != "S6" and row.map_at_r is None)
        assert row.note or not empty or row.map_at_r is None
        assert all(0 < value < 1 for name, value in row.numbers.items() if name != "seconds")


@pytest.mark.parametrize(
    ("table", "labels", "numbers"),
    [
        ("S8", ("profile", "ArcFace", "stage 1"), (84.84, 71.09, 67.35)),
        ("S2", ("crop", "FaceNet", "APC"), (85.71, 45.91, 43.83)),
        ("S5", ("adversarial", "CosFace", "SC"), (99.14, 85.03, 55.27)),
    ],
)
def test_numbers_of_the_paper(
    table: str, labels: tuple[str, ...], numbers: tuple[float, ...]
) -> None:
    (row,) = (r for r in paper_table(table) if (r.query, r.model, r.method) == labels)
    assert (row.p_at_1, row.r_precision, row.map_at_r) == numbers
    assert row.numbers["P@1"] == pytest.approx(numbers[0] / 100)


def test_two_tables_of_the_paper_agree_where_they_repeat_each_other() -> None:
    """A slip of transcription in one of them would show here."""
    s4 = {(r.model, r.method): r for r in paper_table("S4") if r.query == "profile"}
    for row in paper_table("S8"):
        other = s4[row.model, row.method]
        if row.model != "FaceNet" and (row.model, row.method) != ("ArcFace", "APC"):
            assert row.numbers == other.numbers
    s2 = {(r.dataset, r.model, r.method): r for t in ("S2", "S3") for r in paper_table(t)
          if r.query == "mask"}  # fmt: skip
    for row in paper_table("S7"):
        if row.alignment == "3D":
            method = "APC" if row.method == "two-stage (best)" else row.method
            assert row.numbers == s2[row.dataset, row.model, method].numbers


def test_every_line_of_the_paper_is_an_experiment() -> None:
    for row in paper_rows():
        if row.table == "S6":
            continue
        experiment, stage = experiment_of(row, "lightcnn-v4", "no-leak", TableOptions())
        assert stage == (1 if row.method == "stage 1" else 2)
        assert experiment.emd_first == row.method.startswith("EMD")
        assert experiment.options.weighting in {"apc", "sc", "uniform", "lmk"}
        assert (experiment.options.patches, experiment.options.visible_share) == ("raw", 0)
        assert experiment.several == (row.table == "S1")
    assert experiment_of(paper_table("S1")[8], "x", "no-leak", TableOptions())[0].query == (
        "aligned-crop"
    )


def test_a_table_measures_what_it_can_and_says_what_it_cannot(lab: Laboratory) -> None:
    bench = Bench(lab)
    options = TableOptions(networks=("lightcnn-v4", "arcface"), people=3)
    tables = paper_tables(bench, "S8", options)
    assert [table.name for table in tables] == ["S8, published", "S8, no-leak"]
    for table in tables:
        assert len(table.rows) == 6 + 2
        lines = {row.labels[2:]: row for row in table.rows}
        mine = lines["lightcnn-v4", "APC"]
        assert mine.ours.keys() == {"P@1", "RP", "MAP@R"}
        assert not mine.paper
        result = bench.results[mine.experiment]
        assert mine.ours["P@1"].value == result.stage2.p_at_1.estimate
        assert lines["lightcnn-v4", "stage 1"].ours["P@1"].value == result.stage1.p_at_1.estimate
        arcface = lines["ArcFace", "stage 1"]
        assert arcface.paper["P@1"] == pytest.approx(0.8484)
        if "arcface" not in {spec.name for spec in networks.available()}:
            assert "faceflow models import arcface FILE" in arcface.missing
        assert "not asked for" in lines["CosFace", "APC"].missing
        assert any("Near-duplicates" in note for note in table.notes)
        assert any("subset" in note for note in table.notes)
    assert all(any("no protocol leaks" in note for note in table.notes) for table in tables)


def test_notes_say_which_protocol_leaks(lab: Laboratory) -> None:
    options = TableOptions(networks=())
    published, fair = paper_tables(Bench(lab), "S2", options)
    assert any("stays in the gallery" in note for note in published.notes)
    assert any("not comparable" in note for note in fair.notes)
    assert all("not asked for" in row.missing for row in published.rows)


def test_missing_data_is_said_in_the_cells(lab: Laboratory) -> None:
    bench = Bench(lab)
    options = TableOptions(networks=("lightcnn-v4",), protocols=("no-leak",))
    for name in ("S2", "S5", "S6"):
        (table,) = paper_tables(bench, name, options)
        mine = [row for row in table.rows if "lightcnn-v4" in row.labels]
        assert mine
        assert all("--data" in row.missing for row in mine)
        assert sum(bool(row.paper) for row in table.rows) == len(
            [row for row in paper_table(name) if row.numbers]
        )
    with pytest.raises(InputError, match="S1, S2"):
        paper_tables(bench, "5", options)


def test_s7_needs_landmarks_that_are_not_here(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laboratory, "_installed", lambda _: False)
    options = TableOptions(networks=("lightcnn-v4",), protocols=("no-leak",))
    (table,) = paper_tables(Bench(lab), "S7", options)
    mine = [row for row in table.rows if row.labels[2] == "lightcnn-v4"]
    assert {row.labels[-1] for row in mine} == {"3D", "MTCNN"}
    assert all("fan-2d" in row.missing for row in mine if row.labels[-1] == "3D")


def test_s1_times_both_ways(lab: Laboratory) -> None:
    options = TableOptions(networks=("lightcnn-v4",), protocols=("no-leak",), people=3)
    (table,) = paper_tables(Bench(lab), "S1", options)
    mine = {row.labels[1:]: row for row in table.rows if row.labels[2] == "lightcnn-v4"}
    assert mine["none", "lightcnn-v4", "EMD at stage 1 APC"].ours["seconds"].value > 0
    assert mine["none", "lightcnn-v4", "two-stage APC"].ours["seconds"].value > 0
    for (_, _, method), row in mine.items():  # LMK's too: the features kept hold landmarks
        timed = set() if method == "stage 1" else {"seconds"}
        assert row.ours.keys() == {"P@1", "RP", "MAP@R", *timed}, row


def test_s1_samples_the_lines_that_compare_everything(lab: Laboratory) -> None:
    def lines(**options: Any) -> dict[str, Row]:
        bench = Bench(lab)
        usual = TableOptions(("lightcnn-v4",), ("no-leak",), **options)
        (table,) = paper_tables(bench, "S1", usual)
        found = {r.labels[3]: r for r in table.rows if r.labels[1:3] == ("none", "lightcnn-v4")}
        sizes = {
            name: bench.results[row.experiment].sample.queries
            for name, row in found.items()
            if row.experiment >= 0
        }
        assert sizes["stage 1"] == sizes["two-stage APC"] == sizes["two-stage LMK"] == 17
        results = bench.results[found["two-stage APC"].experiment]
        assert found["stage 1"].ours["P@1"].value == results.stage1.p_at_1.estimate
        if options["whole_gallery_queries"]:
            assert sizes["EMD at stage 1 APC"] == 4
            assert any("sample of 4 queries" in note for note in table.notes)
        return found

    assert lines(whole_gallery_queries=4)["EMD at stage 1 APC"].ours["P@1"].low is not None
    left_out = lines(whole_gallery_queries=0)["EMD at stage 1 APC"]
    assert not left_out.ours
    assert "--whole-gallery-queries" in left_out.missing


def test_paper_networks_are_lower_case_names() -> None:
    assert {row.model for t in TABLES if t != "S6" for row in paper_table(t)} == set(PAPER_NETWORKS)


def test_ablations(lab: Laboratory) -> None:
    bench = Bench(lab)
    table = ablation(bench, "grid", BASE)
    assert [row.labels[0] for row in table.rows] == ["stage 1", "8x8", "4x4", "2x2", "1x1"]
    assert all(row.ours for row in table.rows)
    by_k = {row.labels[0]: row for row in ablation(bench, "k", BASE).rows}
    # Re-ranking one face changes nothing.
    assert by_k["k 1"].ours["P@1"] == by_k["stage 1"].ours["P@1"]
    capped = ablation(bench, "iterations", BASE).rows
    assert capped[1].ours["unconverged"].value > capped[-1].ours["unconverged"].value
    with pytest.raises(InputError, match="no ablation"):
        ablation(bench, "colour", BASE)
    with pytest.raises(FaceflowError, match="agedb"):
        ablation(bench, "k", BASE.with_(dataset="agedb"))


def test_identification_goes_on_past_a_missing_cell(lab: Laboratory) -> None:
    bench = Bench(lab)
    tables = identification_tables(bench, [BASE, BASE.with_(network="madeup")])
    assert [bool(row.missing) for row in tables[0].rows] == [False, False, True]
    with pytest.raises(FaceflowError, match="madeup"):
        identification_tables(Bench(lab), [BASE.with_(network="madeup")])


def test_missing_weights_are_said_in_the_cell(lab: Laboratory) -> None:
    def missing(network: str, alignment: str) -> FaceAnalyzer:
        raise WeightsError(f"{network} is not pulled", todo="run `faceflow models pull`")

    bare = Laboratory(lab.sources, lab.folder, analyzer=missing)
    options = TableOptions(networks=("lightcnn-v4",), protocols=("no-leak",))
    (table,) = paper_tables(Bench(bare), "S8", options)
    mine = [row for row in table.rows if row.labels[2] == "lightcnn-v4"]
    assert [row.missing for row in mine] == [
        "lightcnn-v4 is not pulled; run `faceflow models pull`"
    ] * 2


def test_s6_measures_the_pairs_of_mlfw(lab: Laboratory, photos: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in photos.iterdir() if path.is_dir())[:5]
    (tmp_path / "aligned").mkdir()
    for name in names:
        for n in (1, 2):
            source = photos / name / f"{name}_{n:04d}.jpg"
            (tmp_path / "aligned" / f"{name}_{n:04d}_0000.jpg").write_bytes(source.read_bytes())
    ring = [*names[1:], names[0]]
    lines = [f"{name}_0001_0000.jpg {name}_0002_0000.jpg 1" for name in names * 2]
    lines += [f"{a}_0001_0000.jpg {b}_0002_0000.jpg 0" for a, b in zip(names, ring, strict=True)]
    lines += [f"{a}_0002_0000.jpg {b}_0001_0000.jpg 0" for a, b in zip(names, ring, strict=True)]
    (tmp_path / "pairs.txt").write_text("\n".join(lines) + "\n")
    masked = Laboratory({"mlfw": DataSource(tmp_path)}, lab.folder, analyzer=lab._load)
    bench = Bench(masked)
    (table,) = paper_tables(bench, "S6", TableOptions(networks=("lightcnn-v4",)))
    (result,) = bench.verifications
    mine = {row.labels[3]: row for row in table.rows if row.labels[2] == "lightcnn-v4"}
    assert mine["cosine"].ours["accuracy"].value == result.stage1.accuracy
    assert mine["two-stage distance"].ours["accuracy"].value == result.stage2.accuracy
    assert result.folds == 10
    assert next(row.paper["accuracy"] for row in table.rows if row.paper) == 0.7485


def test_open_set_rates_stand_in_the_table(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceflow.evaluation.identification_run.FPIRS", (0.5,))
    bench = Bench(lab)
    tables = {t.name: t for t in identification_tables(bench, [BASE.with_(protocol="open-set")])}
    first, second = tables["open set"].rows
    (point,) = bench.results[0].open_set
    assert point.stage1 is not None
    assert point.stage2 is not None
    assert first.ours["TPIR"].value == point.stage1.tpir
    assert second.ours["TPIR"].value == point.stage2.tpir
    assert "non-mated searches" in second.note
