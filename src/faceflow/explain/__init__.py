"""Why a match scored what it scored: numbers, pictures, a page and JSON.

Example:
    >>> from faceflow.explain import explain_pair, flow_picture, to_json  # doctest: +SKIP
    >>> explanation = explain_pair(query, match)  # doctest: +SKIP
    >>> flow_picture(query_crop, match_crop, explanation).save("flow.png")  # doctest: +SKIP
"""

from faceflow.explain.as_json import to_json
from faceflow.explain.drawing.panels import contribution_heatmap, rebuild, weight_heatmap
from faceflow.explain.drawing.picture import Part, flow_picture
from faceflow.explain.drawing.weight_sheet import WeightedPair, weight_sheet
from faceflow.explain.explanation import Explanation, Term, explain_pair
from faceflow.explain.page import PageRow, html_page
from faceflow.explain.words import Caption

__all__ = [
    "Caption",
    "Explanation",
    "PageRow",
    "Part",
    "Term",
    "WeightedPair",
    "contribution_heatmap",
    "explain_pair",
    "flow_picture",
    "html_page",
    "rebuild",
    "to_json",
    "weight_heatmap",
    "weight_sheet",
]
