"""A base whose weights are not whole is refused: nothing is trained on random numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fairgen.backbones import load_backbone
from pipelines.recipe import check_models, load_recipe
from pipelines.recipe.loading import LoadingConfig, load_pipeline
from tests.families import FAMILIES, tiny
from tests.families.single_file import save_in_one_file


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_pipeline_of_every_family_is_whole(family: str, tmp_path: Path) -> None:
    """Whatever else than parts its index holds, such as a list of layers."""
    pipe = tiny(family)
    pipe.save_pretrained(tmp_path)
    check_models(load_recipe("portraits", base=str(tmp_path)))
    loaded = load_pipeline("base", str(tmp_path), LoadingConfig())
    assert load_backbone(loaded).fingerprint == load_backbone(pipe).fingerprint
    assert set(loaded.components) == set(pipe.components)


def changed(folder: Path, part: str, change: Callable[[dict[str, Tensor], str], None]) -> str:
    """Change the weights of a part of a saved pipeline; return the name of the tensor that is."""
    (file,) = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    name = next(n for n in tensors if tensors[n].ndim == 2 and n.endswith(".weight"))
    change(tensors, name)
    save_file(tensors, file, metadata={"format": "pt"})
    return name


def reshape(tensors: dict[str, Tensor], name: str) -> None:
    tensors[name] = torch.ones(len(tensors[name]) + 1, tensors[name].shape[1])


PARTS = [
    ("SD 1.x", "text_encoder"), ("SD 1.x", "unet"), ("SD 1.x", "vae"),
    ("FLUX.1 dev", "text_encoder_2"), ("FLUX.1 dev", "transformer"), ("Z-Image", "text_encoder"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "part"), PARTS)
def test_a_part_that_lacks_weights_is_refused_by_name(
    family: str, part: str, tmp_path: Path
) -> None:
    """transformers fills them with random numbers, and says so in a log."""
    tiny(family).save_pretrained(tmp_path)
    changed(tmp_path, part, lambda tensors, name: tensors.pop(name))
    with pytest.raises(ValueError, match=rf"^base: .* cannot be loaded: its {part} lacks \S+"):
        load_pipeline("base", str(tmp_path), LoadingConfig())


@pytest.mark.parametrize(
    ("family", "part"),
    [
        ("FLUX.1 dev", "text_encoder_2"),
        ("Z-Image", "text_encoder"),
        ("FLUX.2 klein", "text_encoder"),  # whose pipeline reads no one file by itself
    ],
)
def test_so_is_one_beside_a_base_in_one_file(family: str, part: str, tmp_path: Path) -> None:
    _, file, config = save_in_one_file(family, tmp_path)
    changed(config, part, lambda tensors, name: tensors.pop(name))
    with pytest.raises(ValueError, match=rf"^base: .* cannot be loaded: its {part} lacks \S+"):
        load_pipeline("base", str(file), LoadingConfig(config=str(config)))


@pytest.mark.parametrize(("family", "part"), PARTS)
def test_a_part_with_weights_of_other_shapes_is_refused(
    family: str, part: str, tmp_path: Path
) -> None:
    tiny(family).save_pretrained(tmp_path)
    changed(tmp_path, part, reshape)
    with pytest.raises(ValueError, match=r"^base: .* cannot be loaded: .*shape"):
        load_pipeline("base", str(tmp_path), LoadingConfig())


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_scales_beside_weights_are_refused_before_anything_is_loaded(
    part: str, tmp_path: Path
) -> None:
    tiny("SD 1.x").save_pretrained(tmp_path)

    def scale(tensors: dict[str, Tensor], name: str) -> None:
        tensors[name.replace("weight", "scale_weight")] = torch.ones(1)

    name = changed(tmp_path, part, scale).replace("weight", "scale_weight")
    recipe = load_recipe("portraits", base=str(tmp_path))
    for load in (
        lambda: check_models(recipe),
        lambda: load_pipeline(str(tmp_path), str(tmp_path), LoadingConfig()),
    ):
        with pytest.raises(ValueError, match=rf"^base: got .*, whose {part} has .*'{name}'; allow"):
            load()


@pytest.mark.parametrize("family", ["SD 1.x", "FLUX.1 dev"])
def test_a_part_that_is_there_without_the_variant_is_loaded_as_it_is(
    family: str, tmp_path: Path
) -> None:
    pipe = tiny(family)
    pipe.save_pretrained(tmp_path, variant="fp16")
    for part in ("text_encoder", "vae"):
        for file in (tmp_path / part).glob("*.safetensors"):
            file.rename(file.with_name(file.name.replace(".fp16", "")))
    loaded = load_pipeline("base", str(tmp_path), LoadingConfig())
    assert load_backbone(loaded).fingerprint == load_backbone(pipe).fingerprint
    one, other = (load_backbone(found).encode(["a doctor"])["text"] for found in (loaded, pipe))
    assert torch.equal(one, other)


def test_a_tokenizer_without_its_words_is_refused_with_the_whole_reason(tmp_path: Path) -> None:
    tiny("SD 1.x").save_pretrained(tmp_path)
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"^base: got 'base', which cannot be loaded: .*[^: ]$"):
        load_pipeline("base", str(tmp_path), LoadingConfig())
