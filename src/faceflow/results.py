"""What the everyday object answers: faces with people, and two faces compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from faceflow.analyzer import Face
from faceflow.arrays import Float64
from faceflow.errors import InputError
from faceflow.explain import PageRow, WeightedPair, explain_pair, weight_sheet
from faceflow.explain.report import TOP, Reasons, reasons_for
from faceflow.gallery import Gallery
from faceflow.matching.identification import Matches, PersonMatch, Status
from faceflow.matching.options import MatchOptions
from faceflow.matching.score import prepare
from faceflow.matching.verification import Verification
from faceflow.quality import Quality


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FoundFace:
    """One face of a photo, and who it may be.

    Attributes:
        photo: the photo's path as it was given, or what kind of object it was.
        face: the face itself: crop, landmarks, features, the detector's score.
        matches: the whole answer, with every re-ranked gallery face.
        quality: how much the face gives to go by; ``quality.flaws`` says in words what is wrong.
        query_network: the student that looked at it; None where it was the gallery's network.
    """

    photo: str
    face: Face
    matches: Matches
    quality: Quality
    query_network: str | None
    _gallery: Callable[[], Gallery] = field(repr=False)
    _options: MatchOptions = field(repr=False)

    @property
    def box(self) -> Float64:
        """(4,) float64 x0, y0, x1, y1 in pixels of the photo."""
        return self.face.box

    @property
    def status(self) -> Status:
        """What was decided, in a word.

        "identified" when the best person's score reaches the threshold, "unknown" when it does
        not, "ranked" when there is no threshold and nothing was decided, "unsure" when the face
        is worse than the identifier's ``min_quality``, "empty" when nobody is enrolled.
        """
        return self.matches.status

    @property
    def people(self) -> tuple[PersonMatch, ...]:
        """The most similar people, best first, also where the status is "unknown" or "unsure".

        Each has ``person``, ``score``, the parts of the score, and ``rank``.
        """
        return self.matches.people

    @property
    def person(self) -> str | None:
        """The best person's name; None when unknown, unsure, or when nobody is enrolled."""
        return self.matches.person

    @property
    def threshold(self) -> float | None:
        """The score that counts as identified; None: nothing was decided."""
        return self.matches.threshold

    @property
    def patch_model(self) -> str | None:
        """Digest of what is known of the network's patches, where the score depends on it."""
        return self._options.model_digest

    @property
    def confidence(self) -> float | None:
        """The detector's confidence in (0, 1]; None when the whole image was taken."""
        return self.face.score if self.face.source == "detected" else None

    def explain(self, *, top: int = TOP) -> Reasons:
        """Why: which parts of the face were matched with which, for the ``top`` best people.

        Ask while the identifier is open: the gallery's faces are read again.

        Raises:
            InputError: ``top`` is below 1.
            GalleryError: a matched face was removed meanwhile, or the gallery is closed.
        """
        if top < 1:
            raise InputError(f"top is {top}", todo="explain at least one person")
        return reasons_for(
            self.face,
            self.matches,
            self._gallery(),
            self._options,
            name=self.photo,
            query_network=self.query_network or "",
            top=top,
        )

    def __str__(self) -> str:
        x0, y0, x1, y1 = (round(float(value)) for value in self.box)
        best = ", ".join(f"{match.person} {match.score:.3f}" for match in self.people[:3])
        where = f"{_file_name(self.photo)} at {x0},{y0},{x1},{y1}"
        return f"{where}: {self.status}" + (best and f" ({best})")

    def __repr__(self) -> str:
        return f"<FoundFace {self}>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ComparedFaces:
    """Two faces, and how alike they are.

    Attributes:
        photos: the two photos' paths as they were given, or what kind of object they were.
        faces: the face that was taken from each.
        result: the scores; ``score``, ``cosine``, ``emd``, ``same`` and ``threshold`` are also
            to be had here.
        network: name of the face network.
        options: how they were compared.
        query_network: the student that looked at the first face; None where it was ``network``.
    """

    photos: tuple[str, str]
    faces: tuple[Face, Face]
    result: Verification
    network: str
    options: MatchOptions
    query_network: str | None = None

    @property
    def score(self) -> float:
        """How alike they are: a similarity, not a probability."""
        return self.result.score

    @property
    def cosine(self) -> float:
        """Cosine of the two embeddings."""
        return self.result.cosine

    @property
    def emd(self) -> float:
        """EMD similarity of their patches."""
        return self.result.emd

    @property
    def visible_cosine(self) -> float | None:
        """Cosine of what both faces show; None where it does not count."""
        return self.result.visible_cosine

    @property
    def same(self) -> bool | None:
        """Whether the score reaches the threshold; None when there is none."""
        return self.result.same

    @property
    def threshold(self) -> float | None:
        """The threshold, if any."""
        return self.result.threshold

    def explain(self) -> Reasons:
        """Why: which parts of the first face were matched with which of the second."""
        first, second = self.faces
        found = explain_pair(first.features, second.features, self.options)
        name = _file_name(self.photos[1])
        row = PageRow(name, found, crop=second.crop, source=self.photos[1])
        return Reasons(
            self.photos[0],
            first.crop,
            (row,),
            decision=self._decision(),
            threshold=self.threshold,
            network=self.network,
            query_network=self.query_network or "",
        )

    def weight_sheet(self) -> Image.Image:
        """What every weighting makes of the two faces, side by side: an RGB image.

        The network's own patches, and what they show where that is known.
        """
        plain = replace(
            self.options,
            patches="raw",
            visible_share=0.0,
            weighting="uniform" if self.options.model is None else "uncovered",
        )
        first, second = self.faces
        a, b = (prepare(face.features, plain, flow=True).patches for face in self.faces)
        assert a is not None
        assert b is not None
        label = ", ".join(map(_file_name, self.photos))
        return weight_sheet([WeightedPair(label, first.crop, a, second.crop, b)])

    def _decision(self) -> str:
        if self.same is None:
            return "No threshold was given, so nothing is decided"
        word = "The same person" if self.same else "Not the same person"
        return f"{word}: {self.score:.3f} against the threshold {self.threshold:.3f}"

    def __str__(self) -> str:
        word = {True: "same person", False: "not the same", None: "not decided"}[self.same]
        return f"{' and '.join(map(_file_name, self.photos))}: {self.score:.3f} ({word})"

    def __repr__(self) -> str:
        return f"<ComparedFaces {self}>"


def _file_name(photo: str) -> str:
    return Path(photo).name
