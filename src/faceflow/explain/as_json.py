"""An explanation as plain numbers and lists, for other programs."""

from __future__ import annotations

from typing import Any

from faceflow.arrays import Float64
from faceflow.explain.explanation import Explanation

SCHEMA = "faceflow.explanation/2"

# Contributions of a 16x16 grid rounded so still add up to the EMD similarity within 1.3e-10.
_SUMMED_DIGITS = 12
_FLOW_DIGITS = 9
_COSINE_DIGITS = 6


def to_json(explanation: Explanation, *, matrices: bool = True) -> dict[str, Any]:
    """The explanation as a dictionary that ``json.dumps`` takes as it is.

    Keys (lists have one entry per patch, row by row over the grid; the query comes first):

    ==========================  ===========================================================
    ``schema``                  "faceflow.explanation/2"; the number changes with the keys
    ``grid``                    [rows, columns]
    ``score, emd, cosine``      the score and the two similarities it is made of
    ``alpha``                   share of ``emd`` in ``score``
    ``parts``                   what each similarity adds: {"emd": alpha * emd, "cosine": ...}
    ``visible_cosine``          cosine of what both faces show; null where it does not count
    ``patches``                 what was transported: "raw" or "projected"
    ``weighting``               rule behind the weights
    ``solver``                  {"name": ..., its options}
    ``status``                  "converged", "max_iterations" or "no_mass"
    ``iterations``              Sinkhorn iterations
    ``marginal_error``          L1 distance of the flow's row sums from the query's weights
    ``nearby_mass``             share of the mass that stays in place or moves by one cell
    ``query``                   {"weights", "contributions", "best_match", "brightness"}
    ``gallery``                 {"weights", "contributions"}
    ``flow, cosines``           rows of query patches; left out without ``matrices``
    ==========================  ===========================================================

    ``best_match`` is -1 where a patch has no mass to move. Numbers are rounded to 12 decimals,
    so that contributions add up to ``emd`` within 1e-9; ``flow`` to 9 and ``cosines`` to 6,
    which keeps a file of 64 patches below 100 KB.
    """
    answer: dict[str, Any] = {
        "schema": SCHEMA,
        "grid": list(explanation.grid),
        "score": _round(explanation.score),
        "emd": _round(explanation.emd),
        "cosine": _round(explanation.cosine),
        "alpha": explanation.alpha,
        "parts": {term.key: _round(term.part) for term in explanation.terms},
        "visible_cosine": None
        if explanation.visible_cosine is None
        else _round(explanation.visible_cosine),
        "patches": explanation.patches,
        "weighting": explanation.weighting,
        "solver": dict(explanation.solver),
        "status": explanation.status.name.lower(),
        "iterations": explanation.iterations,
        "marginal_error": _round(explanation.marginal_error),
        "nearby_mass": _round(explanation.nearby_mass),
        "query": {
            "weights": _list(explanation.u),
            "contributions": _list(explanation.query_contributions),
            "best_match": explanation.best_match.tolist(),
            "brightness": _list(explanation.brightness),
        },
        "gallery": {
            "weights": _list(explanation.v),
            "contributions": _list(explanation.gallery_contributions),
        },
    }
    if matrices:
        answer["flow"] = _list(explanation.flow, _FLOW_DIGITS)
        answer["cosines"] = _list(explanation.cosines, _COSINE_DIGITS)
    return answer


def _round(value: float) -> float:
    return round(value, _SUMMED_DIGITS)


def _list(values: Float64, digits: int = _SUMMED_DIGITS) -> list[Any]:
    rounded: list[Any] = values.round(digits).tolist()
    return rounded
