"""Which judge measures: its kind, where its weights lie, and where it runs."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fairgen.attributes import Attribute
from fairgen.judging.face_classes import FaceClasses, check_face_classes, check_installed
from fairgen.judging.judge import CLIP_TYPES, Classes, Classifier, Judge

if TYPE_CHECKING:
    from fairgen.judging.clip import ClipJudge
    from fairgen.judging.judge_confusion import JudgeConfusion


class _JudgeConfig(BaseModel, ABC):
    """What every kind of judge has. On the device "auto" it runs on the GPU if there is one.

    `confusion` is the file that `fairgen judge` writes: how often this judge errs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    batch_size: int = Field(default=64, ge=1)
    confusion: Path | None = None

    @abstractmethod
    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        """Return the judge; a relative path is read from `root`. Raises ValueError when the weights
        are missing.
        """

    def check(
        self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str] = ()
    ) -> None:
        """Raise ValueError where a file is missing, or cannot be used, or where the judge does not
        name what is asked of it; no weights are read.
        """
        self._check_files(root)
        self.load_confusion(root, attributes)

    @abstractmethod
    def _check_files(self, root: Path) -> None:
        """Raise ValueError where a folder of the judge is missing, or no model."""

    def load_confusion(
        self, root: Path, attributes: Sequence[Attribute]
    ) -> "JudgeConfusion | None":
        """Return how the judge errs, None where it was not measured; a relative path is read from
        where the process runs, or else from `root`. Raises ValueError for a file that is none, or
        of other categories.
        """
        from fairgen.judging.judge_confusion import JudgeConfusion

        path = self._own_confusion(root)
        if self.confusion is not None:
            path = self.confusion if self.confusion.exists() else root / self.confusion
        if path is None:
            return None
        try:
            found = JudgeConfusion.model_validate_json(path.read_text())
            found.check(attributes)
        except (OSError, ValueError) as error:
            raise ValueError(f"judge.confusion: {str(path)!r} cannot be used: {error}") from error
        return found

    def _own_confusion(self, root: Path) -> Path | None:
        """Return the file that lies beside the judge's weights, if there is one."""
        return None

    def _device(self) -> str:
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _load_clip(
        self,
        field: str,
        root: Path,
        path: Path,
        attributes: Sequence[Attribute],
        concepts: Sequence[str],
        classifier: Classifier | None = None,
    ) -> "ClipJudge":
        """Return the CLIP judge of a folder under `root`, or of the hub where `path` is no folder
        and reads as owner/name.
        """
        from fairgen.judging.clip import ClipJudge

        def load(source: Path | str) -> ClipJudge:
            return ClipJudge(
                source,
                attributes,
                concepts,
                classifier=classifier,
                device=self._device(),
                batch_size=self.batch_size,
            )

        if not _of_hub(root, path):
            return load(_clip_folder(field, root, path))
        try:
            return load(path.as_posix())
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"judge.{field}: got {str(path)!r}, which is no folder and cannot be loaded from "
                f"the hub: {reason}"
            ) from error


class PortraitJudgeConfig(_JudgeConfig):
    """The judge of the drawn world; `path` is the embedded base model's folder."""

    kind: Literal["portraits"]

    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        self._check_files(root)
        from fairgen.judging.portraits import PortraitJudge

        return PortraitJudge(root / self.path, self._device(), self.batch_size)

    def check(
        self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str] = ()
    ) -> None:
        from fairgen.portraits import ATTRIBUTES, CONCEPTS

        for attribute in attributes:
            allowed = ATTRIBUTES.get(attribute.name, ())
            if unknown := sorted(set(attribute.names) - set(allowed)):
                raise ValueError(
                    f"judge: got {unknown} of {attribute.name!r}, which the judge of the drawn "
                    f"world does not name; allowed are {ATTRIBUTES}"
                )
        if unknown := sorted(set(concepts) - set(CONCEPTS)):
            raise ValueError(
                f"judge: got {unknown} of concepts, which the judge of the drawn world does not "
                f"name; allowed are {list(CONCEPTS)}"
            )
        super().check(root, attributes, concepts)

    def _check_files(self, root: Path) -> None:
        _folder("path", root, self.path, "judge.safetensors")

    def _own_confusion(self, root: Path) -> Path | None:
        path = root / self.path / "judge_confusion.json"
        return path if path.exists() else None


class ClipJudgeConfig(_JudgeConfig):
    """Zero-shot CLIP or SigLIP; `path` is a folder, or a model of the hub as owner/name."""

    kind: Literal["clip"]

    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        return self._load_clip("path", root, self.path, attributes, concepts)

    def _check_files(self, root: Path) -> None:
        if not _of_hub(root, self.path):
            _clip_folder("path", root, self.path)


class FairFaceJudgeConfig(_JudgeConfig):
    """A FairFace-shaped classifier, a folder or a file, for the attributes; `clip` is the CLIP that
    names concepts. `classes` holds attribute -> category -> the classifier's labels.
    """

    kind: Literal["fairface"]
    clip: Path
    classes: Classes

    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        from fairgen.judging.fairface import FairFaceClassifier

        classifier = FairFaceClassifier(
            root / self.path, self.classes, attributes, self._device(), self.batch_size
        )
        return self._load_clip("clip", root, self.clip, (), concepts, classifier)

    def _check_files(self, root: Path) -> None:
        if not (root / self.path).exists():
            raise ValueError(f"judge.path: got {str(self.path)!r}, which is no file and no folder")
        if not _of_hub(root, self.clip):
            _clip_folder("clip", root, self.clip)


class OnnxFacesJudgeConfig(_JudgeConfig):
    """Two small nets and the Monk scale on the one face of a picture; `path` is the CLIP that names
    concepts. `classes` says for every attribute what its categories are in what the nets see. It
    abstains from an attribute where none of them has `min_probability`.
    """

    kind: Literal["onnx-faces"]
    classes: dict[str, FaceClasses]
    min_probability: float = Field(default=0.8, gt=0.5, le=1)

    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        check_installed()
        from fairgen.judging.onnx_faces import OnnxFaces

        classifier = OnnxFaces(self.classes, attributes, self.min_probability, self.batch_size)
        return self._load_clip("path", root, self.path, (), concepts, classifier)

    def check(
        self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str] = ()
    ) -> None:
        check_installed()
        check_face_classes(self.classes, attributes)
        super().check(root, attributes, concepts)

    def _check_files(self, root: Path) -> None:
        if not _of_hub(root, self.path):
            _clip_folder("path", root, self.path)


JudgeConfig = Annotated[
    PortraitJudgeConfig | ClipJudgeConfig | FairFaceJudgeConfig | OnnxFacesJudgeConfig,
    Field(discriminator="kind"),
]


def _of_hub(root: Path, path: Path) -> bool:
    """Return whether a path that is no folder under `root` reads as owner/name."""
    return not (root / path).exists() and len(path.parts) == 2


def _folder(field: str, root: Path, path: Path, needed: str) -> Path:
    """Return the folder read from `root`, unless it lacks the needed file."""
    if not (root / path / needed).exists():
        raise ValueError(f"judge.{field}: got {str(path)!r}, which holds no {needed}")
    return root / path


def _clip_folder(field: str, root: Path, path: Path) -> Path:
    """Return the folder of a CLIP or a SigLIP, read from `root`."""
    folder = _folder(field, root, path, "config.json")
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"judge.{field}: {str(path)!r} holds no usable config.json") from error
    if kind not in CLIP_TYPES:
        allowed = " and ".join(CLIP_TYPES)
        raise ValueError(f"judge.{field}: got a model of type {kind!r}, allowed are {allowed}")
    return folder
