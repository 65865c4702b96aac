"""One photo's face into a gallery, for requests and for jobs alike."""

from __future__ import annotations

from faceflow.analyzer import Face
from faceflow.gallery import Enrolment, Gallery
from faceflow.gallery.records import FaceRecord


def enroll(
    gallery: Gallery, person: str, face: Face, *, source: str, content_hash: str
) -> int | None:
    """Add a face; its id, or None where the person has the photo already.

    Args:
        gallery: where to.
        person: the name.
        face: from the gallery's analyzer.
        source: a label of the photo.
        content_hash: sha256 of its bytes.

    Raises:
        GalleryError: it cannot be written.
    """
    report = gallery.enroll(
        [
            Enrolment(
                person=person,
                source=source,
                content_hash=content_hash,
                features=face.features,
                box=face.box if face.source == "detected" else None,
                score=face.score,
                crop=face.crop,
            )
        ]
    )
    return report.face_ids[0] if report.face_ids else None


def enrolled(gallery: Gallery, person: str, content_hash: str) -> FaceRecord | None:
    """The person's face of a photo, or None.

    Raises:
        GalleryError: there is no such person.
    """
    faces = gallery.faces(person)
    return next((face for face in faces if face.content_hash == content_hash), None)
