"""What is measured and what came out, as plain values that go to JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from faceflow.errors import FaceflowError
from faceflow.evaluation.metrics.open_set import IdentificationPoint
from faceflow.evaluation.metrics.significance import Interval, PairedTest
from faceflow.faces import detectors as detection
from faceflow.matching.options import MatchOptions
from faceflow.matching.transport import Sinkhorn

Curve = tuple[tuple[float, ...], tuple[float, ...]]
"""x and y of a curve's points."""

ALPHAS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""The sweep of the paper's Fig. S3, finer."""
FPIRS = (0.01, 0.1)
"""False positive identification rates that open-set results are read at."""
FARS = (0.001, 0.01)
"""False accept rates that verification results are read at."""


class NotHereError(FaceflowError):
    """An experiment cannot be made here: its data set, network or method is missing."""

    exit_code = 2


@dataclass(frozen=True)
class Experiment:
    """One identification or verification experiment; equal ones give equal numbers.

    Attributes:
        dataset: a name of ``datasets.FAMILIES``.
        query: a condition the data set marks photos with ("masked"), or one of
            ``extraction.covers()``; "adversarial" with talfw.
        network: name of the face network.
        options: how faces are compared. The network's patch model need not be in it, the
            laboratory adds it.
        protocol: a name of ``protocols.PROTOCOLS``; "pairs" for verification.
        emd_first: rank the whole gallery by EMD instead of re-ranking k (paper Table S1).
        alignment: the landmarks that faces are aligned by.
        several: keep only people with two photos or more (LFW-1680).
        people: search for this many people only, and enroll nobody else unless ``faces`` says so;
            None for all.
        faces: fill the gallery up to this many faces with other people's.
        queries: search with a sample of so many queries only; None for all.
        seed: of the subset, the sample, the protocol's choices and the covers.
    """

    dataset: str
    query: str
    network: str
    options: MatchOptions
    protocol: str = "no-leak"
    emd_first: bool = False
    alignment: str = detection.DEFAULT
    several: bool = False
    people: int | None = None
    faces: int | None = None
    queries: int | None = None
    seed: int = 0

    @property
    def method(self) -> str:
        """Weighting, alpha, and what else is not as usual, in a few words."""
        asked = self.options
        words = [asked.weighting, f"alpha {asked.alpha:g}"]
        if asked.patches != "raw":
            words.append(asked.patches)
        if asked.visible_share > 0:
            words.append(f"visible share {asked.visible_share:g}")
        if asked.k != 100:
            words.append(f"k {asked.k}")
        if asked.grid is not None:
            words.append(f"{asked.grid[0]}x{asked.grid[1]}")
        if isinstance(asked.solver, Sinkhorn) and asked.solver.epsilon != Sinkhorn().epsilon:
            words.append(f"epsilon {asked.solver.epsilon:g}")
        if isinstance(asked.solver, Sinkhorn) and asked.solver.dtype != Sinkhorn().dtype:
            words.append(asked.solver.dtype)
        return ", ".join(words)

    def with_(self, **changes: object) -> Experiment:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def compared(self, **changes: object) -> Experiment:
        """A copy with some of its options changed."""
        return replace(self, options=replace(self.options, **changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sample:
    """The photos behind a result.

    Attributes:
        gallery_photos, query_photos: photos that were to be used.
        gallery_missed, query_missed: those without a detected face, or unreadable.
        faces, people: in the gallery.
        queries, query_people: that were searched with.
        mated: queries with somebody to find, as the photos say.
        lost: of these, queries without a face or whose mates' photos showed none.
        same_photo, near_duplicates: comparisons left out because both show one photograph.
        leaked: comparisons of a query with its own photograph that were *not* left out, as the
            published protocol has them.
        duplicate_pairs: near-duplicate pairs among all photos used.
        misfiled: of these, pairs under two names.
    """

    gallery_photos: int
    query_photos: int
    gallery_missed: int
    query_missed: int
    faces: int
    people: int
    queries: int
    query_people: int
    mated: int
    lost: int
    same_photo: int
    near_duplicates: int
    leaked: int
    duplicate_pairs: int
    misfiled: int


@dataclass(frozen=True)
class Metrics:
    """Means over the mated queries with a face, with 95% intervals over people.

    ``p_at_1_counted`` is over all mated queries, those lost counting as failures.
    """

    p_at_1: Interval
    r_precision: Interval
    map_at_r: Interval
    p_at_1_counted: float


@dataclass(frozen=True)
class SweepPoint:
    """Stage 2 at one alpha, against stage 1."""

    alpha: float
    p_at_1: float
    r_precision: float
    map_at_r: float
    wins: int
    losses: int
    p_value: float


@dataclass(frozen=True)
class OpenSet:
    """Both stages at one rate; None where the non-mated searches are too few to measure it.

    ``tpir1`` and ``tpir2`` are intervals over people, the threshold set anew in each sample; None
    too where a sample may hold too few non-mated searches.
    """

    fpir: float
    stage1: IdentificationPoint | None
    stage2: IdentificationPoint | None
    tpir1: Interval | None
    tpir2: Interval | None


@dataclass(frozen=True)
class IdentificationResult:
    """What one identification experiment gave.

    Attributes:
        experiment: what was asked.
        real: whether the covers are in the photos (a condition of the data set) or drawn.
        sample: how many photos and faces.
        stage1, stage2: metrics by cosine, and after the EMD.
        queries, people: stage 2 against stage 1, query by query and person by person.
        recall_at_k: share of queries with a mate in stage 1's top k: no re-ranking exceeds it.
        ceiling: the R-precision a perfect ranking would reach; below 1 only when published.
        sweep: every alpha, from the same run.
        cmc1, cmc2: share found by rank 1, 2, ...
        open_set: rates of the open-set protocol, else empty.
        det1, det2: FPIR and FNIR of the open-set protocol, else None.
        unconverged: transports that met the iteration cap.
        pairs: transports solved.
        network_digest: of weights and preprocessing.
        feature_seconds: for detection and features; photos kept from earlier runs cost nothing.
        ranking_seconds: of the ranking; None when part of it came from an earlier run.
    """

    experiment: Experiment
    real: bool
    sample: Sample
    stage1: Metrics
    stage2: Metrics
    queries: PairedTest
    people: PairedTest
    recall_at_k: Interval
    ceiling: float
    sweep: tuple[SweepPoint, ...]
    cmc1: tuple[float, ...]
    cmc2: tuple[float, ...]
    open_set: tuple[OpenSet, ...]
    det1: Curve | None
    det2: Curve | None
    unconverged: int
    pairs: int
    network_digest: str
    feature_seconds: float
    ranking_seconds: float | None


@dataclass(frozen=True)
class PairMetrics:
    """Verification by one score.

    ``accuracy`` is the mean over folds of LFW's rule with its ``standard_error``; ``tar`` holds
    (FAR, TAR) where the different pairs are enough to measure the FAR; ``roc`` FAR and TAR.
    """

    accuracy: float
    standard_error: float
    threshold: float
    eer: float
    auc: float
    tar: tuple[tuple[float, float], ...]
    roc: Curve

    @property
    def accuracy_number(self) -> Number:
        """Accuracy with 1.96 standard errors on either side, within 0 and 1."""
        reach = 1.96 * self.standard_error
        low, high = max(0.0, self.accuracy - reach), min(1.0, self.accuracy + reach)
        return Number(self.accuracy, low, high)


@dataclass(frozen=True)
class PairSweep:
    """Verification accuracy at one alpha."""

    alpha: float
    accuracy: float
    eer: float


@dataclass(frozen=True)
class VerificationResult:
    """What one verification experiment gave.

    Attributes:
        experiment: what was asked; ``protocol`` is "pairs".
        pairs, same, folds: of the list.
        photos, missed: photos in it, and those without a face.
        missed_pairs: pairs with such a photo: judged "different", never dropped.
        same_photo: pairs whose two photos are near-duplicates of each other.
        stage1, stage2: by cosine, and by equation 9.
        paired: pairs judged right by equation 9 and wrong by cosine, and the reverse.
        sweep: every alpha.
        unconverged, network_digest, feature_seconds, ranking_seconds: as for identification.
    """

    experiment: Experiment
    pairs: int
    same: int
    folds: int
    photos: int
    missed: int
    missed_pairs: int
    same_photo: int
    stage1: PairMetrics
    stage2: PairMetrics
    paired: PairedTest
    sweep: tuple[PairSweep, ...]
    unconverged: int
    network_digest: str
    feature_seconds: float
    ranking_seconds: float


Result = IdentificationResult | VerificationResult


@dataclass(frozen=True)
class Number:
    """A measured number with its interval, if it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        labels: dataset, query, network, method, ...: one for each of the table's label columns.
        ours: metric -> number; empty where nothing was measured.
        paper: metric -> the paper's number.
        missing: why there is no number of ours, and how to get it.
        note: about this line.
        experiment: place of its result in the report's ``results``, or -1.
    """

    labels: tuple[str, ...]
    ours: dict[str, Number] = field(default_factory=dict)
    paper: dict[str, float] = field(default_factory=dict)
    missing: str = ""
    note: str = ""
    experiment: int = -1


@dataclass(frozen=True)
class Table:
    """Rows under label columns and metrics, with notes below."""

    name: str
    title: str
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """Everything one command measured.

    Attributes:
        title: what the report is about.
        command: the command line.
        date: when it was made, ISO 8601.
        seconds: how long it took.
        versions: package -> version.
        data: data set -> what its reader found.
        tables: the answers.
        results: the experiments behind them.
        verifications: likewise, of pairs.
    """

    title: str
    command: str
    date: str
    seconds: float
    versions: dict[str, str]
    data: dict[str, str]
    tables: tuple[Table, ...]
    results: tuple[IdentificationResult, ...] = ()
    verifications: tuple[VerificationResult, ...] = ()
