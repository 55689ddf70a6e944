"""Which judge measures: its kind, where its weights lie, and where it runs."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fairgen.attributes import Attribute
from fairgen.judging.judge import Classes, Classifier, Judge

if TYPE_CHECKING:
    from fairgen.judging.clip import ClipJudge


class _JudgeConfig(BaseModel, ABC):
    """What every kind of judge has. On the device "auto" it runs on the GPU if there is one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    batch_size: int = Field(default=64, ge=1)

    @abstractmethod
    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        """Return the judge; a relative path is read from `root`. Raises ValueError when the weights
        are missing.
        """

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

        if (root / path).exists() or len(path.parts) != 2:
            return load(_folder(field, root, path, "config.json"))
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
        from fairgen.judging.portraits import PortraitJudge

        folder = _folder("path", root, self.path, "judge.safetensors")
        return PortraitJudge(folder, self._device(), self.batch_size)


class ClipJudgeConfig(_JudgeConfig):
    """Zero-shot CLIP; `path` is a folder, or a model of the hub as owner/name."""

    kind: Literal["clip"]

    def load(self, root: Path, attributes: Sequence[Attribute], concepts: Sequence[str]) -> Judge:
        return self._load_clip("path", root, self.path, attributes, concepts)


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


JudgeConfig = Annotated[
    PortraitJudgeConfig | ClipJudgeConfig | FairFaceJudgeConfig, Field(discriminator="kind")
]


def _folder(field: str, root: Path, path: Path, needed: str) -> Path:
    """Return the folder read from `root`, unless it lacks the needed file."""
    if not (root / path / needed).exists():
        raise ValueError(f"judge.{field}: got {str(path)!r}, which holds no {needed}")
    return root / path
