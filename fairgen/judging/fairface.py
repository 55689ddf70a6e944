"""The FairFace-shaped classifier: any image classifier whose logits hold several heads side by
side.
"""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fairgen.attributes import Attribute
from fairgen.judging.judge import Classes, Classified
from fairgen.pictures import opaque

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.image_processing_utils import BaseImageProcessor

# The 18 outputs of FairFace's seven-race network, as its predict.py reads them (arXiv 1908.04913).
LABELS = (
    *("White", "Black", "Latino_Hispanic", "East Asian", "Southeast Asian", "Indian"),
    "Middle Eastern",
    *("Male", "Female"),
    *("0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+"),
)
_DEPTHS = (3, 4, 6, 3)
_WIDTHS = (64, 128, 256, 512)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SIZE_PX = 224
_SUFFIXES = (".pt", ".pth", ".safetensors")
# The exceptions of torch and safetensors for files that are cut short, hold no tensors, or do not
# fit.
_NO_STATE_DICT = (
    UnpicklingError,
    SafetensorError,
    EOFError,
    OSError,
    LookupError,
    RuntimeError,
    TypeError,
)


class FairFaceClassifier:
    """Names the categories of attributes by a classifier's labels.

    A category is one or more labels. Its probability is the softmax over all logits that the
    attribute's categories mention, summed over its own: FairFace too reads each head by a softmax
    of its own. The judge sees whole pictures, while FairFace was trained on face crops with
    a margin of a quarter: it suits portraits, and misses small faces.
    """

    def __init__(
        self,
        path: Path,
        classes: Classes,
        attributes: Sequence[Attribute],
        device: str = "cpu",
        batch_size: int = 64,
    ) -> None:
        """`classes` holds attribute -> category -> labels; `batch_size` pictures pass the network
        at once.
        """
        self.model, self._processor = load_classifier(path)
        self.model.to(device)
        config = self.model.config
        labels = [config.id2label[index] for index in range(config.num_labels)]
        self._columns = label_columns(classes, attributes, labels)
        self._batch_size = batch_size
        self.heads = {attribute.name: attribute.names for attribute in attributes}

    @torch.inference_mode()
    def classify(self, images: Sequence[Image.Image]) -> Classified:
        """Return probabilities by attribute; it always names a category."""
        starts = range(0, len(images), self._batch_size)
        logits = torch.cat([self._logits(images[s : s + self._batch_size]) for s in starts])
        probabilities = {
            name: torch.stack([logits[:, own].logsumexp(1) for own in columns], dim=1).softmax(1)
            for name, columns in self._columns.items()
        }
        return Classified(probabilities)

    def _logits(self, images: Sequence[Image.Image]) -> Tensor:
        coloured = [opaque(image) for image in images]
        inputs = self._processor(images=coloured, return_tensors="pt").to(self.model.device)
        return self.model(**inputs).logits.cpu()


def label_columns(
    classes: Classes, attributes: Sequence[Attribute], labels: Sequence[str]
) -> dict[str, list[list[int]]]:
    """Return the indices of each category's labels, attribute by attribute, in categories' order.

    Raises ValueError unless `classes` names exactly the attributes and their categories, each with
    a label, by labels that the classifier has once and that the attribute uses once.
    """
    names = [attribute.name for attribute in attributes]
    if sorted(classes) != sorted(names):
        raise ValueError(
            f"judge.classes: got {list(classes)}, allowed are exactly the attributes {names}"
        )
    known = [label for label in labels if labels.count(label) == 1]
    columns = {}
    for attribute in attributes:
        field, labels_of = f"judge.classes.{attribute.name}", classes[attribute.name]
        if sorted(labels_of) != sorted(attribute.names) or not all(labels_of.values()):
            raise ValueError(
                f"{field}: got {labels_of}, allowed is one label or more for exactly each of "
                f"{list(attribute.names)}"
            )
        used = [label for category in attribute.names for label in labels_of[category]]
        if unknown := [label for label in used if label not in known]:
            raise ValueError(f"{field}: got {unknown}, allowed are {known}")
        if twice := sorted({label for label in used if used.count(label) > 1}):
            raise ValueError(f"{field}: got {twice} more than once, allowed is each label once")
        columns[attribute.name] = [
            [labels.index(label) for label in labels_of[category]] for category in attribute.names
        ]
    return columns


def load_classifier(path: Path) -> tuple["PreTrainedModel", "BaseImageProcessor"]:
    """Return a classifier and the processor that prepares its pictures, from a folder of
    transformers' or a file with the weights of FairFace's ResNet-34.

    A folder without a preprocessor config gets FairFace's: 224 x 224 pixels, ImageNet's mean and
    deviation. Raises ValueError for any other path, and for a folder that lacks weights.
    """
    from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTImageProcessor

    processor = ViTImageProcessor(
        size={"height": _SIZE_PX, "width": _SIZE_PX}, image_mean=_MEAN, image_std=_STD
    )
    if path.is_file() and path.suffix in _SUFFIXES:
        return load_resnet34(path), processor
    if not (path / "config.json").is_file():
        raise ValueError(
            f"judge.path: got {str(path)!r}, allowed are a folder that holds config.json and a "
            f"file that ends in one of {list(_SUFFIXES)}"
        )
    if (path / "preprocessor_config.json").is_file():
        processor = AutoImageProcessor.from_pretrained(path)
    model, loaded = AutoModelForImageClassification.from_pretrained(
        path, dtype=torch.float32, output_loading_info=True
    )
    if missing := sorted(loaded["missing_keys"]):
        raise ValueError(
            f"judge.path: got {str(path)!r}, which lacks {missing}; allowed is a whole classifier"
        )
    return model.eval(), processor


def load_resnet34(file: Path) -> "PreTrainedModel":
    """Return transformers' ResNet with the weights of a torchvision ResNet-34, 18 outputs.

    A pickle is read as tensors only: it runs no code. Raises ValueError for anything but such a
    state dict.
    """
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        layer_type="basic",
        embedding_size=_WIDTHS[0],
        hidden_sizes=list(_WIDTHS),
        depths=list(_DEPTHS),
        id2label=dict(enumerate(LABELS)),
    )
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        renamed = transformers_names(state)
        model = ResNetForImageClassification(config)
        model.load_state_dict(renamed)
    except _NO_STATE_DICT as error:
        raise ValueError(
            f"judge.path: got {str(file)!r}, allowed is the state dict of a torchvision ResNet-34 "
            f"with {len(LABELS)} outputs"
        ) from error
    return model.eval()


def transformers_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a torchvision ResNet-34's state dict under transformers' names; unknown names stay.

    Raises TypeError for anything but a dict.
    """
    if not isinstance(state, dict):
        raise TypeError(f"state: got {type(state).__name__}, allowed is a dict")
    stem = "resnet.embedder.embedder"
    modules = {"conv1": f"{stem}.convolution", "bn1": f"{stem}.normalization", "fc": "classifier.1"}
    for stage, depth in enumerate(_DEPTHS):
        for block in range(depth):
            theirs = f"layer{stage + 1}.{block}"
            ours = f"resnet.encoder.stages.{stage}.layers.{block}"
            modules[f"{theirs}.downsample.0"] = f"{ours}.shortcut.convolution"
            modules[f"{theirs}.downsample.1"] = f"{ours}.shortcut.normalization"
            for layer in range(2):
                modules[f"{theirs}.conv{layer + 1}"] = f"{ours}.layer.{layer}.convolution"
                modules[f"{theirs}.bn{layer + 1}"] = f"{ours}.layer.{layer}.normalization"
    split = {name: str(name).rpartition(".") for name in state}
    return {
        f"{modules.get(module, module)}.{weight}": state[name]
        for name, (module, _, weight) in split.items()
    }
