"""The FairFace-shaped classifier: known answers of planted weights, torchvision's ResNet-34 number
by number, and every refusal.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    ViTImageProcessor,
)

from fairgen.attributes import Attribute, Category
from fairgen.judging.clip import ClipJudge
from fairgen.judging.fairface import (
    FairFaceClassifier,
    label_columns,
    load_classifier,
    load_resnet34,
)
from fairgen.judging.judge import Judge
from tests.tiny import AGE, GENDER, save_tiny_clip

CLASSES = {
    "gender": {"woman": ("Female",), "man": ("Male",)},
    "age": {"young": ("20-29",), "old": ("60-69", "70+")},
}
LABELS = ("White", "Male", "Female", "0-2", "20-29", "60-69", "70+")
TINY = {"layer_type": "basic", "embedding_size": 1, "hidden_sizes": [1], "depths": [1]}


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


def plain(grey: int, size_px: int = 32) -> Image.Image:
    return Image.new("RGB", (size_px, size_px), (grey, grey, grey))


@torch.no_grad()
def save_brightness_classifier(folder: Path, labels: tuple[str, ...] = LABELS) -> Path:
    """Save a classifier that measures brightness: bright is Female, dark is Male, ages are biases.

    Its one channel is the mean of the 7 x 7 pixels around each point, in [0, 1], which the only
    residual block passes on unchanged.
    """
    model = ResNetForImageClassification(ResNetConfig(**TINY, id2label=dict(enumerate(labels))))
    model.resnet.embedder.embedder.convolution.weight.fill_(1 / (3 * 7 * 7))
    for layer in model.resnet.encoder.stages[0].layers[0].layer:
        layer.convolution.weight.zero_()
    head = model.classifier[1]
    head.weight.zero_()
    head.bias.zero_()
    for label, weight, bias in (("Female", 20, -10), ("Male", -20, 10)):
        head.weight[labels.index(label)] = weight
        head.bias[labels.index(label)] = bias
    for label, bias in (("0-2", 9.0), ("20-29", 1.0), ("60-69", 0.0), ("70+", 0.5)):
        head.bias[labels.index(label)] = bias
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    ViTImageProcessor(size=size, do_normalize=False).save_pretrained(folder)
    return folder


def test_bright_is_female_and_dark_is_male(tmp_path: Path) -> None:
    classifier = FairFaceClassifier(save_brightness_classifier(tmp_path), CLASSES, (GENDER, AGE))
    pictures = [plain(250), plain(5), plain(250).convert("L")]
    woman, man = classifier.classify(pictures).probabilities["gender"].T
    assert woman[0] > 0.99 and man[1] > 0.99
    torch.testing.assert_close(woman[2], woman[0])
    torch.testing.assert_close(woman + man, torch.ones(3))


def test_a_category_sums_the_softmax_over_the_labels_that_its_attribute_mentions(
    tmp_path: Path,
) -> None:
    """Logits 1 for 20-29, 0 for 60-69, 0.5 for 70+, and 9 for an age that nothing mentions."""
    classifier = FairFaceClassifier(save_brightness_classifier(tmp_path), CLASSES, (AGE, GENDER))
    whole = np.exp(1.0) + np.exp(0.0) + np.exp(0.5)
    expected = torch.tensor([[np.exp(1.0) / whole, (np.exp(0.0) + np.exp(0.5)) / whole]])
    torch.testing.assert_close(
        classifier.classify([plain(100)]).probabilities["age"], expected.float()
    )


def test_a_clip_judge_names_concepts_beside_the_classifiers_attributes(
    tmp_path: Path, clip_folder: Path
) -> None:
    classifier = FairFaceClassifier(
        save_brightness_classifier(tmp_path), {"age": CLASSES["age"]}, (AGE,)
    )
    concepts = ("doctor", "nurse")
    judge: Judge = ClipJudge(clip_folder, (), concepts, classifier=classifier)
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    pictures = [Image.fromarray(each) for each in noise]
    perception = judge.read(pictures)
    seen = perception.probabilities
    assert judge.heads == {"age": ("young", "old"), "concept": ("doctor", "nurse")}
    assert {head: table.shape for head, table in seen.items()} == {"age": (3, 2), "concept": (3, 2)}
    torch.testing.assert_close(seen["age"], classifier.classify(pictures).probabilities["age"])
    alone = ClipJudge(clip_folder, (), concepts).read(pictures)
    torch.testing.assert_close(seen["concept"], alone.probabilities["concept"])
    torch.testing.assert_close(perception.features, alone.features)


def test_pictures_are_judged_sixty_four_at_a_time_in_their_order(tmp_path: Path) -> None:
    classifier = FairFaceClassifier(save_brightness_classifier(tmp_path), CLASSES, (GENDER, AGE))
    sizes: list[int] = []
    classifier.model.register_forward_hook(lambda _model, _args, out: sizes.append(len(out.logits)))
    women = [index in (0, 63, 64, 129) for index in range(130)]
    seen = classifier.classify([plain(250 if woman else 5) for woman in women]).probabilities[
        "gender"
    ]
    assert sizes == [64, 64, 2]
    assert (seen[:, 0] > 0.5).tolist() == women


def test_half_precision_on_disk_is_judged_in_full(tmp_path: Path) -> None:
    folder = save_brightness_classifier(tmp_path)
    ResNetForImageClassification.from_pretrained(folder).half().save_pretrained(folder)
    classifier = FairFaceClassifier(folder, CLASSES, (GENDER, AGE))
    assert classifier.classify([plain(250)]).probabilities["gender"].dtype == torch.float32


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, num_in: int, num_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_in, num_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_out)
        self.conv2 = nn.Conv2d(num_out, num_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_out)
        self.downsample = nn.Sequential()
        if stride > 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(num_in, num_out, 1, stride, bias=False), nn.BatchNorm2d(num_out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.downsample(x)).relu()


class TorchvisionResNet34(nn.Module):
    """torchvision's resnet34 by hand, under torchvision's names."""

    def __init__(self, num_classes: int = 18) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(*[Block(64, 64, 1) for _ in range(3)])
        self.layer2 = nn.Sequential(Block(64, 128, 2), *[Block(128, 128, 1) for _ in range(3)])
        self.layer3 = nn.Sequential(Block(128, 256, 2), *[Block(256, 256, 1) for _ in range(5)])
        self.layer4 = nn.Sequential(Block(256, 512, 2), *[Block(512, 512, 1) for _ in range(2)])
        self.fc = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def torchvision_resnet34() -> nn.Module:
    """Return it with random weights and running statistics that differ from the defaults."""
    torch.manual_seed(0)
    network = TorchvisionResNet34().eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Return a folder for 85 MB of weights that is gone after the test; pytest keeps its own."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


Save = Callable[[Mapping[str, Tensor], Path], None]


def save_legacy(state: Mapping[str, Tensor], file: Path) -> None:
    """Write the format of torch before 1.6, in which FairFace was published."""
    torch.save(state, file, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize(
    ("save", "name"), [(torch.save, "a.pt"), (save_legacy, "a.pth"), (save_file, "a.safetensors")]
)
@torch.inference_mode()
def test_logits_of_a_torchvision_resnet34_are_unchanged(
    torchvision_resnet34: nn.Module, save: Save, name: str, scratch: Path
) -> None:
    save(torchvision_resnet34.state_dict(), scratch / name)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = torchvision_resnet34(images)
    assert (expected[0] - expected[1]).abs().max() > 0.5
    logits = load_resnet34(scratch / name)(pixel_values=images).logits
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_outputs_of_fairfaces_file_are_named_in_its_order(
    torchvision_resnet34: nn.Module, scratch: Path
) -> None:
    """Output k is k whatever the picture: an answer tells which outputs were read."""
    state = torchvision_resnet34.state_dict()
    state |= {"fc.weight": torch.zeros(18, 512), "fc.bias": torch.arange(18.0)}
    torch.save(state, scratch / "fairface.pt")
    race = Attribute(
        name="race",
        categories=tuple(Category(name=name, word=name) for name in ("white", "latino", "arab")),
    )
    classes = {
        "race": {"arab": ("Middle Eastern",), "white": ("White",), "latino": ("Latino_Hispanic",)},
        "gender": {"woman": ("Female",), "man": ("Male",)},
        "age": {"young": ("0-2", "20-29"), "old": ("60-69", "70+")},
    }
    classifier = FairFaceClassifier(scratch / "fairface.pt", classes, (race, GENDER, AGE))
    inputs: list[Tensor] = []
    classifier.model.register_forward_pre_hook(
        lambda _model, _args, given: inputs.append(given["pixel_values"]), with_kwargs=True
    )
    seen = classifier.classify([Image.new("RGB", (50, 40), "red")]).probabilities
    outputs = {"race": ((0,), (2,), (6,)), "gender": ((8,), (7,)), "age": ((9, 12), (16, 17))}
    for head, groups in outputs.items():
        odds = torch.tensor([sum(np.exp(float(k - 17)) for k in group) for group in groups])
        torch.testing.assert_close(seen[head][0], (odds / odds.sum()).float())
    assert inputs[0].shape == (1, 3, 224, 224)
    of_red = torch.tensor([(1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    torch.testing.assert_close(inputs[0].mean((0, 2, 3)), of_red)


def test_a_folder_without_a_preprocessor_config_gets_fairfaces(tmp_path: Path) -> None:
    save_brightness_classifier(tmp_path)
    assert load_classifier(tmp_path)[1].size["height"] == 32
    (tmp_path / "preprocessor_config.json").unlink()
    processor = load_classifier(tmp_path)[1]
    assert processor.size["height"] == processor.size["width"] == 224
    assert list(processor.image_mean) == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            {"gender": CLASSES["gender"]},
            r"judge\.classes: got \['gender'\], allowed are exactly the attributes "
            r"\['gender', 'age'\]",
        ),
        (CLASSES | {"race": {"a": ("White",)}}, r"judge\.classes: got \['gender', 'age', 'race'\]"),
        (
            CLASSES | {"gender": {"woman": ("Female",)}},
            r"judge\.classes\.gender: got \{'woman': \('Female',\)\}, allowed is one label or more "
            r"for exactly each of \['woman', 'man'\]",
        ),
        (
            CLASSES | {"gender": {"woman": ("Female",), "man": ()}},
            r"judge\.classes\.gender: got .*'man': \(\)\}, allowed is one label or more",
        ),
        (
            CLASSES | {"gender": {**CLASSES["gender"], "other": ("White",)}},
            r"judge\.classes\.gender: got .*'other'.*exactly each of \['woman', 'man'\]",
        ),
        (
            CLASSES | {"gender": {"woman": ("female",), "man": ("Male",)}},
            r"judge\.classes\.gender: got \['female'\], allowed are \['White', 'Male', 'Female', ",
        ),
        (
            CLASSES | {"age": {"young": ("20-29", "70+"), "old": ("60-69", "70+")}},
            r"judge\.classes\.age: got \['70\+'\] more than once, allowed is each label once",
        ),
        (
            CLASSES | {"age": {"young": ("20-29", "20-29"), "old": ("70+",)}},
            r"judge\.classes\.age: got \['20-29'\] more than once",
        ),
        (
            CLASSES | {"age": {"young": ("20-29",), "old": ("unsure",)}},
            r"judge\.classes\.age: got \['unsure'\], allowed are \['White', .*'70\+'\]$",
        ),
    ],
)
def test_classes_that_do_not_fit_are_named(
    classes: dict[str, dict[str, tuple[str, ...]]], message: str
) -> None:
    """The classifier has "unsure" twice, once a head: nobody can say which is meant."""
    with pytest.raises(ValueError, match=message):
        label_columns(classes, (GENDER, AGE), (*LABELS, "unsure", "unsure"))


def test_a_label_may_serve_two_attributes() -> None:
    twins = {"gender": CLASSES["gender"], "age": {"young": ("Male",), "old": ("Female", "70+")}}
    assert label_columns(twins, (GENDER, AGE), LABELS) == {
        "gender": [[2], [1]],
        "age": [[1], [2, 6]],
    }


def test_labels_that_the_model_lacks_are_refused(tmp_path: Path) -> None:
    folder = save_brightness_classifier(tmp_path)
    classes = {"gender": {"woman": ("Frau",), "man": ("Male",)}}
    with pytest.raises(
        ValueError, match=r"got \['Frau'\], allowed are \['White', 'Male', 'Female'"
    ):
        FairFaceClassifier(folder, classes, (GENDER,))


class Trap:
    """A pickle of it makes a folder on loading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.mkdir, (self.folder,)


def test_a_pickle_that_is_no_state_dict_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    refusal = r"judge\.path: got '.*', allowed is the state dict of a torchvision ResNet-34 with 18"
    torch.save({"fc.weight": Trap(tmp_path / "sprung")}, tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=refusal):
        load_classifier(tmp_path / "trap.pt")
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(ValueError, match=refusal):
        load_classifier(tmp_path / "bare.pth")
    assert not (tmp_path / "sprung").exists()
    torch.load(tmp_path / "trap.pt", weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap is none"


@pytest.mark.parametrize(
    "content",
    [[torch.zeros(2)], {"epoch": 3}, {3: torch.zeros(2)}, {"fc.weight": torch.zeros(18, 512)}, {}],
)
def test_a_file_without_the_networks_tensors_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="allowed is the state dict of a torchvision ResNet-34"):
        load_resnet34(tmp_path / "other.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x02s"])
def test_a_file_that_holds_no_tensors_is_refused(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="allowed is the state dict of a torchvision ResNet-34"):
        load_resnet34(tmp_path / name)


def test_a_resnet34_of_another_number_of_outputs_is_refused(
    torchvision_resnet34: nn.Module, scratch: Path
) -> None:
    state = torchvision_resnet34.state_dict()
    state |= {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
    save_file(state, scratch / "imagenet.safetensors")
    with pytest.raises(ValueError, match=r"torchvision ResNet-34 with 18 outputs"):
        load_resnet34(scratch / "imagenet.safetensors")


@pytest.mark.parametrize("name", ["nowhere", "nowhere.pt", "weights.onnx", "."])
def test_a_path_that_is_neither_folder_nor_weights_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "weights.onnx").touch()
    message = (
        r"judge\.path: got '.*', allowed are a folder that holds config\.json and a file that ends "
        r"in one of \['\.pt', '\.pth', '\.safetensors'\]"
    )
    with pytest.raises(ValueError, match=message):
        load_classifier(tmp_path / name)


def test_a_model_without_its_classifier_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    """transformers would fill the gap with random numbers, and the judge would guess."""
    ResNetModel(ResNetConfig(**TINY)).save_pretrained(tmp_path)
    lacks = r"judge\.path: got '.*', which lacks \['classifier\..*allowed is a whole classifier"
    for folder in (tmp_path, clip_folder):
        with pytest.raises(ValueError, match=lacks):
            load_classifier(folder)
