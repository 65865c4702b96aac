"""Enrolled people and faces: a durable store in one file, and exact stage-1 search."""

from faceflow.gallery.codec import CODECS, QuantisedPatches
from faceflow.gallery.gallery import Gallery
from faceflow.gallery.identity import GalleryHeader, NetworkLike
from faceflow.gallery.reading import GalleryView, ReadableGallery
from faceflow.gallery.records import (
    Change,
    Enrolment,
    EnrolReport,
    FaceRecord,
    GalleryStats,
    PersonInfo,
    SharedPhoto,
    Shortlist,
)
from faceflow.gallery.store import Store
from faceflow.names import person_name

__all__ = [
    "CODECS",
    "Change",
    "EnrolReport",
    "Enrolment",
    "FaceRecord",
    "Gallery",
    "GalleryHeader",
    "GalleryStats",
    "GalleryView",
    "NetworkLike",
    "PersonInfo",
    "QuantisedPatches",
    "ReadableGallery",
    "SharedPhoto",
    "Shortlist",
    "Store",
    "person_name",
]
