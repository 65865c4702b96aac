"""Which photos to enroll, and whose they are: folders per person, CSV lists, tar files, photos."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faceflow.errors import InputError
from faceflow.faces.images import iter_images, read_photo
from faceflow.gallery.outcomes import Skip
from faceflow.gallery.person_names import person_name
from faceflow.gallery.tar_shards import Member, members, open_shard
from faceflow.system.files import read_table


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo and the person it is to be enrolled under.

    Attributes:
        path: its file, or the tar file that it lies in.
        person: who it shows.
        member: where in the tar file it lies; None for a file of its own.
    """

    path: Path
    person: str
    member: Member | None = None

    @property
    def place(self) -> Path:
        """What to call it: its path, of one in a tar file the path with its name there."""
        return self.path if self.member is None else self.path / self.member.name

    def read(self) -> bytes:
        """Its bytes, undecoded.

        Raises:
            ImageError: missing, too large, or the tar file ends before it does.
        """
        if self.member is None:
            return read_photo(self.path)
        with open_shard(self.path) as stream:
            return self.member.read(stream, str(self.place))


@dataclass(frozen=True, slots=True)
class Listing:
    """Photos to enroll, and those that no person can be told for."""

    photos: tuple[Photo, ...]
    skipped: tuple[Skip, ...] = ()

    def __add__(self, other: Listing) -> Listing:
        return Listing(self.photos + other.photos, self.skipped + other.skipped)


def list_photos(
    sources: Iterable[str | Path], *, person: str | None = None, tar: bool = False
) -> Listing:
    """Find the photos behind folders, CSV files and photo paths.

    * A folder holds one folder per person, however deep below it their photos lie; photos that
      lie directly in it belong to nobody and are reported. With ``person`` all photos below
      it are that person's.
    * A ``.csv`` file has the columns ``path`` and ``person``; paths are relative to the file.
    * With ``tar``, a ``.tar`` file holds photos as a folder does, or WebDataset samples; see
      :mod:`.tar_shards`. Such photos are read by :meth:`Photo.read` alone.
    * Anything else is one photo and needs ``person``.

    Raises:
        InputError: no photo at all, a photo without a person, or a CSV that is none.
        ImageError: a folder cannot be read.
    """
    found = Listing(())
    for source in map(Path, sources):
        if source.is_dir():
            found += _tree(source, person)
        elif source.suffix.lower() == ".csv":
            found += photos_in_csv(source)
        elif tar and source.suffix.lower() == ".tar":
            found += photos_in_tar(source, person)
        elif person is not None:
            found += Listing((Photo(source, person_name(person)),))
        elif not source.exists():
            raise InputError(f"{source} does not exist", todo="check the name")
        else:
            raise InputError(
                f"It is not said who {source} shows",
                todo="give the name (--person NAME), or a folder with one folder per person",
            )
    return found


def _tree(folder: Path, person: str | None) -> Listing:
    skipped: list[Skip] = []
    paths = iter_images(
        folder, unreadable=lambda place, error: skipped.append(Skip(place, person, error))
    )
    if not paths and not skipped:
        raise InputError(
            f"There are no photos in {folder}",
            todo="give a folder that holds one folder of photos per person",
        )
    if person is not None:
        photos = [Photo(path, person_name(person)) for path in paths]
        return Listing(tuple(photos), tuple(skipped))
    photos = []
    for path in paths:
        below = path.relative_to(folder).parts
        try:
            if len(below) < 2:
                raise InputError(f"{path} lies in no person's folder")
            photos.append(Photo(path, person_name(below[0])))
        except InputError as error:  # also a folder whose name cannot be a person's
            skipped.append(Skip(path, None, error))
    if not photos and any(skip.path in paths and skip.path.parent == folder for skip in skipped):
        raise InputError(
            f"The photos in {folder} lie in no person's folder",
            todo="put each person's photos into a folder with the person's name, "
            "or say whose they all are (--person NAME)",
        )
    return Listing(tuple(photos), tuple(skipped))


def photos_in_csv(path: str | Path) -> Listing:
    """Photos listed in a CSV file with the columns ``path`` and ``person``.

    Raises:
        InputError: the file cannot be read, lacks a column, has an incomplete row, or no row.
    """
    file = Path(path)
    example = "its first line must be 'path,person' and each other line a photo and a name"
    photos = []
    for line, (place, person) in read_table(file, ("path", "person"), todo=example):
        if not place or not person.strip():
            raise InputError(f"{file}, line {line}, lacks a path or a person", todo=example)
        photos.append(Photo(file.parent / place, _name(person, file, line)))
    if not photos:
        raise InputError(f"{file} lists no photos", todo=example)
    return Listing(tuple(photos))


def photos_in_tar(path: Path, person: str | None = None) -> Listing:
    """Photos in a tar file, by their places in it; nothing is unpacked.

    Raises:
        InputError: the file cannot be read, is no tar file or compressed, or holds no photo.
    """
    photos: list[Photo] = []
    skipped: list[Skip] = []
    with open_shard(path) as stream:
        for found in members(stream, str(path)):
            place = path / found.member.name
            name = person if person is not None else found.person
            try:
                if name is None:
                    raise InputError(f"{place} is in no person's folder, and nothing names one")
                photos.append(Photo(path, person_name(name), found.member))
            except InputError as error:
                skipped.append(Skip(place, None, error))
    if not photos and not skipped:
        raise InputError(f"There are no photos in {path}", todo="give a tar file with photos")
    return Listing(tuple(photos), tuple(skipped))


def _name(text: str, file: Path, line: int) -> str:
    try:
        return person_name(text)
    except InputError as error:
        raise InputError(f"{file}, line {line}: {error.what}", why=error.why) from error
