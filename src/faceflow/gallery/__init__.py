"""Enrolled people and faces: a durable store in one file or database, and exact stage-1 search."""

from faceflow.gallery.codec import CODECS, QuantisedPatches
from faceflow.gallery.gallery import Gallery
from faceflow.gallery.identity import (
    GalleryHeader,
    NetworkLike,
    require_own_space,
    require_query_network,
)
from faceflow.gallery.person_names import person_name
from faceflow.gallery.reading import GalleryView, ReadableGallery
from faceflow.gallery.records import (
    Change,
    Enrolment,
    EnrolReport,
    FaceRecord,
    GalleryStats,
    ImportReport,
    PersonInfo,
    SharedPhoto,
)
from faceflow.gallery.stores.opening import GalleryLocation
from faceflow.gallery.stores.store import Store
from faceflow.matching.shortlist import Shortlist

__all__ = [
    "CODECS",
    "Change",
    "EnrolReport",
    "Enrolment",
    "FaceRecord",
    "Gallery",
    "GalleryHeader",
    "GalleryLocation",
    "GalleryStats",
    "GalleryView",
    "ImportReport",
    "NetworkLike",
    "PersonInfo",
    "QuantisedPatches",
    "ReadableGallery",
    "SharedPhoto",
    "Shortlist",
    "Store",
    "person_name",
    "require_own_space",
    "require_query_network",
]
