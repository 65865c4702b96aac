"""The options of a comparison, shared by 1:N identification and 1:1 verification."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypedDict, Unpack, get_args

from faceflow import networks
from faceflow.errors import InputError
from faceflow.features import Grid, network_digest
from faceflow.matching import covers
from faceflow.matching.covers import PatchModel
from faceflow.matching.transport import Sinkhorn, Solver
from faceflow.matching.transport.codes import DType
from faceflow.matching.weighting import NEED_LANDMARKS, WEIGHTINGS
from faceflow.networks import UNCALIBRATED, MatchDefaults, NetworkSpec, current_names

Patches = Literal["raw", "projected"]


class Changes(TypedDict, total=False):
    """Options a caller may set; None, as from a command line, leaves an option open."""

    alpha: float | None
    weighting: str | None
    k: int | None
    grid: Grid | None
    solver: Solver | None
    patches: Patches | None
    visible_share: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Options that were chosen on a user's own photos, with their threshold.

    A gallery keeps it, and :meth:`faceflow.gallery.Gallery.options` starts from it.

    Attributes:
        alpha, weighting, k, patches, visible_share: as in :class:`MatchOptions`.
        dtype: the format in which patches were compared, see
            :class:`faceflow.matching.transport.Sinkhorn`.
        threshold: the least score that counts as identified; None where none was set.
        patch_model: :attr:`PatchModel.digest` of the one it was measured with; None where none
            counted, or where the one that comes with faceflow was the only one there was.
    """

    alpha: float
    weighting: str
    k: int
    patches: Patches = "raw"
    visible_share: float = 0.0
    threshold: float | None = None
    patch_model: str | None = None
    dtype: DType = "int8"

    @classmethod
    def from_json(
        cls, values: Mapping[str, Any], defaults: MatchDefaults = UNCALIBRATED
    ) -> Calibration:
        """Read what :meth:`as_json` gave, now or under the former names of its fields.

        Args:
            values: JSON values. What they do not speak of is the network's, except that patches
                were raw, no visible cosine counted and the format was float32 before there was a
                choice.
            defaults: of the network.

        Raises:
            InputError: a value that no calibration can have.
        """
        known = current_names(values)
        found = MatchOptions.resolve(
            defaults,
            changes={
                "alpha": _number(known, "alpha"),
                "weighting": known.get("weighting"),
                "k": None if known.get("k") is None else int(_number(known, "k") or 0),
                "patches": known.get("patches", "raw"),
                "visible_share": _number(known, "visible_share") or 0.0,
            },
        )
        return cls(
            alpha=found.alpha,
            weighting=found.weighting,
            k=found.k,
            patches=found.patches,
            visible_share=found.visible_share,
            threshold=_number(known, "threshold"),
            patch_model=None if known.get("patch_model") is None else str(known["patch_model"]),
            dtype=Sinkhorn(dtype=known.get("dtype", "f32")).dtype,
        )

    def as_json(self) -> dict[str, Any]:
        """All fields as JSON values; no threshold and no patch model where there is none."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        optional = ("threshold", "patch_model")
        return {k: v for k, v in values.items() if v is not None or k not in optional}

    def holds_for(self, options: MatchOptions) -> bool:
        """Whether scores come out as they did when the threshold was set."""
        return (
            all(
                getattr(self, name) == getattr(options, name)
                for name in ("alpha", "weighting", "k", "patches", "visible_share")
            )
            and options.grid is None
            and isinstance(options.solver, Sinkhorn)
            # Threads change no score, and who is told a decision is told the CPU's scores.
            and replace(options.solver.on_cpu, threads=None) == Sinkhorn(dtype=self.dtype)
            and self._same_model(options)
        )

    def _same_model(self, options: MatchOptions) -> bool:
        model = options.model
        if model is None or not options.needs_model:
            return True
        return not model.learned if self.patch_model is None else self.patch_model == model.digest


@dataclass(frozen=True, slots=True)
class MatchOptions:
    """How two faces are compared.

        score = alpha * emd + (1 - alpha) * ((1 - visible_share) * cosine
                                             + visible_share * visible_cosine)

    With ``patches`` "raw" and ``visible_share`` 0, as the constructor has it, that is the paper's
    equation 9. :func:`faceflow.matching.score.rerank` is the one place that computes it.

    Attributes:
        alpha: share of the EMD similarity in the score, 0 to 1. With 0 no transport is solved.
        weighting: patch weights, see :mod:`faceflow.matching.weighting`.
        k: how many faces of stage 1's ranking are re-ranked.
        grid: pool the patches to this grid first, e.g. (4, 4); None keeps the network's own.
        solver: the transport solver.
        patches: what is transported: the network's "raw" feature map, or its "projected"
            contributions to the embedding.
        visible_share: share, 0 to 1, of the cosine of the visible faces in the cosine term; see
            :meth:`faceflow.matching.covers.PatchModel.visible_cosine`.
        model: the network's patch model, which projected patches, the weighting "uncovered" and
            the visible cosine need. It is known from the network and not a choice, so two
            options that differ in it alone are equal; :attr:`model_digest` tells them apart.
    """

    alpha: float
    weighting: str
    k: int = 100
    grid: Grid | None = None
    solver: Solver = field(default_factory=Sinkhorn)
    patches: Patches = "raw"
    visible_share: float = 0.0
    model: PatchModel | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.weighting not in WEIGHTINGS:
            raise InputError(
                f"there is no weighting {self.weighting!r}",
                todo=f"choose one of {', '.join(WEIGHTINGS)}",
            )
        if self.k < 1:
            raise InputError(f"k is {self.k}", why="at least one face must be re-ranked")
        if self.patches not in get_args(Patches):
            raise InputError(f"patches is {self.patches!r}", todo="choose raw or projected")
        if not 0 <= self.visible_share <= 1:
            raise InputError(
                f"visible_share is {self.visible_share}", why="it must lie between 0 and 1"
            )
        if self.grid is not None and (self.patches == "projected" or self.visible_share > 0):
            raise InputError(
                f"patches cannot be pooled to {self.grid[0]}x{self.grid[1]} and projected too",
                why="contributions to the embedding are known on the network's own grid",
                todo="leave grid out, or use raw patches and visible_share 0",
            )

    @property
    def needs_model(self) -> bool:
        """Whether anything here asks for more than the features."""
        return (
            self.patches == "projected" or self.visible_share > 0 or self.weighting == "uncovered"
        )

    @property
    def model_digest(self) -> str | None:
        """:attr:`PatchModel.digest` where scores depend on it, else None."""
        return self.model.digest if self.model is not None and self.needs_model else None

    @property
    def needs_landmarks(self) -> bool:
        """Whether the weighting asks for :attr:`FaceFeatures.landmark_share`."""
        return self.weighting in NEED_LANDMARKS

    @property
    def on_cpu(self) -> MatchOptions:
        """The options whose scores people are shown: these, unless a device compares faces."""
        if not isinstance(self.solver, Sinkhorn) or self.solver.on_cpu is self.solver:
            return self
        return replace(self, solver=self.solver.on_cpu)

    @property
    def stage1_alone(self) -> bool:
        """Whether the score is the cosine of embeddings and nothing else."""
        return self.alpha == 0 and self.visible_share == 0

    def require_model(self) -> None:
        """Raise InputError where a patch model is needed and none is known."""
        if self.needs_model and self.model is None:
            raise InputError(
                "projected patches and visibility need a patch model",
                why="these options have none; it is known for some networks only",
                todo="take gallery.options(...) or options_for(...), which add it where it is "
                "known, or use raw patches, visible_share 0 and another weighting than uncovered",
            )
        linear = self.model is None or self.model.linear
        if not linear and (self.patches == "projected" or self.visible_share > 0):
            raise InputError(
                "projected patches and the visible cosine cannot be had of this network",
                why="its embedding is not linear in its patches",
                todo="use raw patches and visible_share 0; the weighting uncovered works",
            )

    def changed(self, **changes: Unpack[Changes]) -> MatchOptions:
        """These options with some set anew; None leaves one as it is.

        Raises:
            InputError: an option is unknown or out of range.
        """
        given = _given(changes)
        return replace(self, **given) if given else self

    @classmethod
    def resolve(
        cls,
        defaults: MatchDefaults,
        calibration: Calibration | None = None,
        *,
        model: PatchModel | None = None,
        changes: Changes | None = None,
    ) -> MatchOptions:
        """Fill what the caller left open: first from calibration, then from the network.

        Without a patch model, and on another grid than the network's, what was left open falls
        back to raw patches, visible_share 0 and uniform weights. An ``alpha`` of 0 asks for stage
        1's ranking, so ``visible_share`` is 0 with it unless it is given too.

        Raises:
            InputError: an option is unknown or out of range.
        """
        given = _given(changes or {})
        start = calibration or defaults
        found: dict[str, Any] = {
            "alpha": float(start.alpha),
            "weighting": start.weighting,
            "k": int(start.k),
            "patches": start.patches,
            "visible_share": float(start.visible_share),
        }
        if calibration is not None:
            found["solver"] = Sinkhorn(dtype=calibration.dtype)
        if given.get("alpha") == 0:
            found["visible_share"] = 0.0
        if model is None or not model.linear or "grid" in given:
            found |= {"patches": "raw", "visible_share": 0.0}
        if model is None and found["weighting"] == "uncovered":
            found["weighting"] = "uniform"
        return cls(**found | given, model=model)


def _given(changes: Changes) -> dict[str, Any]:
    """The options that were set, and an error for a name that is none."""
    unknown = sorted(changes.keys() - Changes.__annotations__.keys())
    if unknown:
        raise InputError(
            f"there is no option {unknown[0]!r}",
            todo=f"the options are {', '.join(Changes.__annotations__)}",
        )
    return {name: one for name, one in changes.items() if one is not None}


def options_for(digest: str | None, **changes: Unpack[Changes]) -> MatchOptions:
    """What measured best for the network that features come from, with changes.

    Args:
        digest: :attr:`FaceFeatures.digest`; where the network is not known here, cautious
            options (alpha 0.1, uniform weights, k 100) are the start.
        changes: options to set.

    Raises:
        InputError: an option is unknown or out of range.
        WeightsError: the network is known and its graph is not in the cache.
    """
    spec = None if digest is None else _network(network_digest(digest))
    if spec is None:
        return MatchOptions.resolve(UNCALIBRATED, changes=changes)
    model = covers.load(spec.name, spec.digest)
    return MatchOptions.resolve(networks.defaults_for(spec.name), model=model, changes=changes)


def _network(digest: str) -> NetworkSpec | None:
    """The network of that digest; found again without looking through all of them."""
    if digest not in _FOUND:
        for spec in networks.available():
            if spec.source.member_sha256 and spec.digest == digest:
                _FOUND[digest] = spec
                break
    return _FOUND.get(digest)


# A digest names weights and preprocessing for good, so what was found stays true.
_FOUND: dict[str, NetworkSpec] = {}


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is {value!r}", why="it must be a number")
    return float(value)


def check_alpha(alpha: float) -> None:
    """Raise :class:`InputError` unless alpha lies in [0, 1]."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}", why="it must lie between 0 and 1")
