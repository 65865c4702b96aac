"""Every error faceflow raises on purpose: what happened, why, and what to do about it."""

from __future__ import annotations


class FaceflowError(Exception):
    """Base of all faceflow errors.

    Args:
        what: what went wrong, in one plain sentence without a trailing full stop.
        why: the cause, where it is known.
        todo: what the user can do about it.

    ``str(error)`` joins the parts into plain sentences, ready to show to a user.
    """

    exit_code = 1

    def __init__(self, what: str, *, why: str = "", todo: str = "") -> None:
        self.what = what
        self.why = why
        self.todo = todo
        super().__init__(". ".join(part.rstrip(".") for part in (what, why, todo) if part) + ".")


class InputError(FaceflowError, ValueError):
    """An argument, array or option is outside what the function accepts."""

    exit_code = 2


class ImageError(FaceflowError):
    """A photo cannot be read: missing, truncated, not an image, too large."""

    exit_code = 3


class NoFaceError(FaceflowError):
    """The detector found no face in a photo that is required to hold one."""

    exit_code = 4


class GalleryError(FaceflowError):
    """A gallery cannot be opened, read or written."""

    exit_code = 5


class GalleryMismatchError(GalleryError):
    """A gallery holds the features of another network, grid or codec than those offered."""


class UnreachableGalleryError(GalleryError):
    """The server that keeps a gallery cannot be reached now; what is kept there is safe."""


class IncompleteGalleryError(GalleryError):
    """Part of a gallery that is spread over a cluster cannot be searched now."""


class WeightsError(FaceflowError):
    """Network weights are missing, damaged, or not what their specification says."""

    exit_code = 6


class UnsafeCheckpointError(WeightsError):
    """A checkpoint asks to run code while it is read; it was refused and nothing was executed."""


class DeviceError(FaceflowError):
    """A device that networks were to run on is not there; the error says what is missing."""

    exit_code = 8


class MissingExtraError(FaceflowError, ImportError):
    """An optional package is needed; the error holds the line that installs it."""

    exit_code = 7
