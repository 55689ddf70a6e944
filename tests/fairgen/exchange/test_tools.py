"""Each tool gets a LoRA in the form that it reads and shows, or nothing is written."""

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from fairgen.adapters import Adapter
from fairgen.exchange import TOOLS, ToolFamily, export_adapter, export_for, tool_families
from fairgen.exchange import tool_family as family_of
from tests.fairgen.backbones.test_families import adapters_of, families, open_backbone
from tests.fairgen.exchange.lora_files import imported
from tests.fairgen.exchange.test_round_trip import imported as read_again
from tests.fairgen.exchange.test_round_trip import known_as

FAMILIES = {family.name: family for family in tool_families()}
NATIVE = {  # a tool knows a fused file by keys of these forms
    "FLUX.1": r"lora_unet_double_blocks_\d+_txt_attn_(qkv|proj)",
    "SD 3": r"lora_unet_joint_blocks_\d+_context_block_attn_(qkv|proj)",
}


def header_of(file: Path) -> dict[str, str]:
    with safe_open(file, framework="pt") as stored:
        return stored.metadata()


def with_text_width(width: int) -> Adapter:
    """Return an adapter whose one layer reads text of a width."""
    (woman, _) = adapters_of("SD 1.x")
    path = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    rank = woman.metadata.rank
    return Adapter(woman.metadata, {path: (torch.ones(rank, width), torch.ones(8, rank))})


def test_the_text_s_width_tells_sd_2_from_sd_1() -> None:
    found = [
        family_of("StableDiffusionPipeline", with_text_width(width)).name for width in (768, 1024)
    ]
    assert found == ["SD 1.x", "SD 2.x"]


def a1111_version(header: dict[str, str]) -> str:
    """Return what A1111 takes a file for: it hides those of another model's version."""
    if header.get("ss_base_model_version", "").startswith("sdxl_"):
        return "SDXL"
    if header.get("ss_v2") == "True":
        return "SD 2.x"
    return "SD 1.x" if header else "unknown"


def forge_version(header: dict[str, str]) -> str:
    """Return what Forge takes a file for."""
    architecture = header.get("modelspec.architecture", "")
    if header.get("modelspec.implementation") == "https://github.com/black-forest-labs/flux":
        return "FLUX.1"
    if architecture == "stable-diffusion-v1/lora":
        return "SD 1.x"
    version = a1111_version(header)
    return version if version != "SD 1.x" else "unknown"


@pytest.mark.parametrize("name", ["SD 1.x", "SD 2.x", "SDXL"])
def test_a1111_and_forge_show_a_file_under_the_model_that_it_is_for(
    name: str, tmp_path: Path
) -> None:
    file = export_for(with_text_width(768), "a1111", tmp_path, FAMILIES[name])
    header = header_of(file)
    assert a1111_version(header) == forge_version(header) == name
    assert header["ss_output_name"] == header["modelspec.title"] == "gender-woman" == file.stem


@pytest.mark.parametrize(("name", "shown_as"), [("FLUX.1", "FLUX.1"), ("SD 3", "unknown")])
def test_forge_shows_transformers_files(name: str, shown_as: str, tmp_path: Path) -> None:
    (woman, _) = adapters_of("FLUX.1 dev" if name == "FLUX.1" else "SD 3")
    file = export_for(woman, "forge", tmp_path, FAMILIES[name])
    assert forge_version(header_of(file)) == shown_as  # what is unknown is shown under all
    for key in load_file(file):
        layer, _, part = key.partition(".")
        assert re.fullmatch(NATIVE[name], layer)
        assert part in ("lora_down.weight", "lora_up.weight", "alpha")


@families
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_s_file_comes_back_with_the_same_directions(
    family: str, tool: str, tmp_path: Path
) -> None:
    (woman, _), backbone = adapters_of(family), open_backbone(family)
    known, out = known_as(backbone, woman), tmp_path / "out"
    if tool not in known.forms:
        message = f"for: got '{tool}', which knows no LoRA of {known.name} on the prompt's"
        with pytest.raises(ValueError, match=message):
            export_for(woman, tool, out, known)
        assert not out.exists()
        return
    path = export_for(woman, tool, out, known)
    assert path == out if tool == "diffusers" else path == out / "gender-woman.safetensors"
    assert {file.name for file in out.iterdir()} == {path.name} or tool == "diffusers"
    back = read_again(path, backbone)
    for module, (down, up) in woman.directions.items():
        if module in back.directions:
            ours = back.directions[module][1] @ back.directions[module][0]
            torch.testing.assert_close(ours, up @ down, atol=1e-6, rtol=1e-6)
        else:  # a fused layer's part that nothing was learnt for: the last block's queries
            assert not up.any()
    assert back.directions.keys() <= woman.directions.keys()


@pytest.mark.parametrize(("family", "name"), [("FLUX.1 dev", "FLUX.1"), ("SD 3.5", "SD 3")])
@pytest.mark.parametrize("letters", ["kv", "q", "qkvo", "o"])
def test_a_fused_layer_holds_what_there_is_of_queries_keys_and_values(
    family: str, name: str, letters: str, tmp_path: Path
) -> None:
    (woman, _), backbone = adapters_of(family), open_backbone(family)
    draw = torch.Generator().manual_seed(0)
    directions = {}
    for path in backbone.projections(letters):
        layer = backbone.denoiser.get_submodule(path)
        directions[path] = (
            torch.randn(2, layer.in_features, generator=draw),
            torch.randn(layer.out_features, 2, generator=draw),
        )
    file = export_adapter(Adapter(woman.metadata, directions), "kohya", tmp_path, FAMILIES[name])
    for key, tensor in load_file(file).items():
        if "_qkv.lora_down" in key:  # three times the rank, and alpha as much
            alpha = load_file(file)[key.replace("lora_down.weight", "alpha")]
            assert tensor.shape[0] == 6 == float(alpha)
    back = read_again(file, backbone)
    assert back.directions.keys() == directions.keys()
    for path, (down, up) in back.directions.items():
        theirs = directions[path][1] @ directions[path][0]
        torch.testing.assert_close(up @ down, theirs, atol=1e-6, rtol=1e-6)


def test_a_fused_layer_of_sd_3_that_another_tool_has_trained_is_split(tmp_path: Path) -> None:
    backbone, draw = open_backbone("SD 3"), torch.Generator().manual_seed(0)
    for spell in ("lora_unet_joint_blocks_0_context_block_attn_qkv",
                  "diffusion_model.joint_blocks.0.context_block.attn.qkv"):  # fmt: skip
        down, up = (
            torch.randn(4, 16, generator=draw),
            torch.randn(48, 4, generator=draw),
        )
        tensors = {f"{spell}.lora_down.weight": down, f"{spell}.lora_up.weight": up,
                   f"{spell}.alpha": torch.tensor(2.0)}  # fmt: skip
        found = imported(tensors, backbone, tmp_path)
        assert len(found.directions) == 3
        for letter, part in zip("qkv", up.chunk(3), strict=True):
            module = f"transformer_blocks.0.attn.add_{letter}_proj"
            ours = found.directions[module][1] @ found.directions[module][0]
            torch.testing.assert_close(ours, 0.5 * part @ down, atol=1e-5, rtol=1e-5)


def test_a_fused_layer_of_sd_3_s_picture_stream_is_refused(tmp_path: Path) -> None:
    backbone, key = open_backbone("SD 3"), "lora_unet_joint_blocks_0_x_block_attn_qkv"
    tensors = {f"{key}.lora_down.weight": torch.ones(4, 16),
               f"{key}.lora_up.weight": torch.ones(48, 4)}  # fmt: skip
    with pytest.raises(ValueError, match=r"got directions on \['transformer_blocks\.0\.attn\.to_"):
        imported(tensors, backbone, tmp_path)


def test_a_base_that_no_tool_knows_is_refused_for_tools() -> None:
    (woman, _) = adapters_of("SD 1.x")
    with pytest.raises(ValueError, match="base: got a KandinskyPipeline, for whose LoRAs no other"):
        family_of("KandinskyPipeline", woman)
    with pytest.raises(ValueError, match=r"for: got 'gimp', allowed are \['comfyui', 'a1111'"):
        FAMILIES["SDXL"].form("gimp")


@pytest.mark.parametrize("tool", TOOLS)
def test_exported_files_are_read_by_whom_the_umask_lets(tool: str, tmp_path: Path) -> None:
    (woman, _) = adapters_of("SD 1.x")
    path = export_for(woman, tool, tmp_path / "out", FAMILIES["SD 1.x"])
    (tmp_path / "plain").touch()
    files = path.iterdir() if path.is_dir() else [path]
    expected = (tmp_path / "plain").stat().st_mode
    assert [file.stat().st_mode for file in files] == [expected]


def test_every_family_names_a_workflow_that_is_there() -> None:
    folder = Path(__file__).parents[3] / "fairgen" / "exchange" / "workflows"
    for family in FAMILIES.values():
        assert bool(family.workflow) == ("comfyui" in family.forms)
    used = {family.workflow for family in FAMILIES.values() if family.workflow}
    assert used == {file.stem for file in folder.iterdir()}


def test_a_tool_takes_kohya_s_form_only_where_there_is_one() -> None:
    for family in FAMILIES.values():
        of_unet = isinstance(family, ToolFamily) and family.workflow == "checkpoint"
        if "kohya" in family.forms.values():
            assert of_unet or family.text_attention


def test_the_docs_table_is_the_code_s() -> None:
    page = (Path(__file__).parents[3] / "docs" / "loras.md").read_text()
    heading = f"| family | {' | '.join(TOOLS)} |"
    rows = page.split(heading)[1].split("\n\n")[0].splitlines()[2:]
    assert rows == [
        f"| {family.name} | {' | '.join(family.forms.get(tool, '--') for tool in TOOLS)} |"
        for family in tool_families()
    ]
