"""Registered adapters leave for other tools, and theirs are registered."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairgen.adapters import Adapter, load_adapter
from fairgen.attributes import adapter_name
from pipelines.files import check_out
from pipelines.recipe import Recipe, load_base
from pipelines.registry.local_server import tracking_server
from pipelines.registry.runs import TrainingRuns
from pipelines.registry.versions import Champion, RegisteredAdapter, Registry

if TYPE_CHECKING:
    from diffusers import ConfigMixin

    from fairgen.exchange import ToolFamily


def export_registered(
    recipe: Recipe, name: str, form: str, tool: str, candidate: bool, out: Path, home: Path
) -> Path:
    """Write the champion of a name, such as "gender-woman", or its candidate, for another tool.

    With a `tool`, the form is that which the tool takes for the base's family, else it is `form`.
    Beside it lies its model card, README.md, and the pictures of its evaluation. Return the folder
    or file that the tool is given. Raises ValueError for an adapter that the registry does not
    have, or a form that cannot be written; nothing is written then.
    """
    from fairgen.exchange import FORMS, TOOLS, export_adapter, export_for
    from pipelines.registry.model_card import model_card

    if form not in FORMS:
        raise ValueError(f"format: got {form!r}, allowed are {list(FORMS)}")
    if tool and tool not in TOOLS:
        raise ValueError(f"for: got {tool!r}, allowed are {list(TOOLS)}")
    check_out(out, empty="since what is there might be lost")
    with tracking_server(home) as uri, tempfile.TemporaryDirectory() as scratch:
        registry = Registry(uri, recipe)
        known = registered_members(registry, candidate)
        if name not in known:
            kind = "candidates" if candidate else "champions"
            raise ValueError(f"adapter: got {name!r}, allowed are the {kind} {sorted(known)}")
        version = known[name]
        adapter = load_adapter(registry.download(version, Path(scratch)))
        if tool:
            written = export_for(adapter, tool, out, base_family(recipe, adapter))
        else:
            family = base_family(recipe, adapter) if form == "kohya" else None
            written = export_adapter(adapter, form, out, family)
        grid = registry.download_grid(version, out)
        card = model_card(
            recipe, adapter, registry.version_tags(version), grid.name if grid else ""
        )
        card.save(out / "README.md")
    return written


def registered_members(registry: Registry, candidate: bool) -> dict[str, Champion]:
    """Return adapter's name -> its champion, or its candidate."""
    sets = registry.candidates() if candidate else registry.champions()
    return {
        adapter_name(attribute, category): version
        for attribute, found in sets.items()
        for category, version in found.members.items()
    }


def base_family(recipe: Recipe, adapter: Adapter) -> "ToolFamily":
    """Return the family of a recipe's base as other tools know it: its `model_index.json` names
    the pipeline. Raises ValueError for a base without one, or that no other tool knows.
    """
    from diffusers import DiffusionPipeline

    from fairgen.exchange import tool_family

    index = base_config(recipe, DiffusionPipeline)
    return tool_family(str(index.get("_class_name")), adapter)


def base_config(recipe: Recipe, kind: "type[ConfigMixin]", component: str = "") -> dict[str, Any]:
    """Return the config of a recipe's base, or of a component, without its weights. Raises
    ValueError where there is none.
    """
    loading, error = recipe.loading, None
    for cached in (True, False):  # the hub is asked only for what is not here
        if cached or not loading.local_files_only:
            try:
                return kind.load_config(
                    loading.config_path or recipe.base_path,
                    subfolder=component or None,
                    revision=loading.revision,
                    local_files_only=cached,
                )
            except (OSError, ValueError) as found:
                error = found
    reason = str(error).strip().splitlines()[0]
    raise ValueError(f"base: got {recipe.base!r}, whose config cannot be read: {reason}") from error


def import_set(
    recipe: Recipe, attribute: str, files: Mapping[str, Path], home: Path
) -> list[RegisteredAdapter]:
    """Register LoRAs of another tool, category -> file, as an attribute's candidates.

    Raises ValueError unless there is one for every category, and for one that does not fit.
    """
    from fairgen.adapters import save_adapter
    from fairgen.backbones import load_backbone
    from fairgen.exchange import import_adapter
    from pipelines.registry.trained import TrainedAttribute

    chosen = recipe.attribute(attribute)
    if sorted(files) != sorted(chosen.names):
        raise ValueError(
            f"{attribute}: got {sorted(files)}, allowed is one file for each of "
            f"{list(chosen.names)}"
        )
    backbone = load_backbone(load_base(recipe), recipe.generation.size_px)
    base = backbone.fingerprint
    with tempfile.TemporaryDirectory() as scratch:
        folders, owners = [], dict[str, str]()
        for category in chosen.names:
            adapter = import_adapter(files[category], backbone, chosen, category, base)
            if (owner := owners.setdefault(adapter.sha256, category)) != category:
                raise ValueError(f"{attribute}: got the same LoRA for {owner} and {category}")
            save_adapter(adapter, Path(scratch) / adapter.name)
            folders.append(Path(scratch) / adapter.name)
        trained = TrainedAttribute(folders=tuple(folders), training_seconds=0, denoiser_rows=0)
        with tracking_server(home) as uri, TrainingRuns(uri, recipe) as runs:
            runs.open_job(attribute)
            registered = runs.register_adapter_set(chosen, trained, None)
            runs.close_job(attribute, finished=True)
    return registered
