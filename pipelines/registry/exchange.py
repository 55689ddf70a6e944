"""Registered adapters leave for other tools, and theirs are registered."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from pipelines.recipe import Recipe, load_base
from pipelines.registry.local_server import tracking_server
from pipelines.registry.runs import TrainingRuns
from pipelines.registry.versions import RegisteredAdapter, Registry


def export_registered(
    recipe: Recipe, name: str, form: str, candidate: bool, out: Path, home: Path
) -> Path:
    """Write the champion of a name, such as "gender-woman", or its candidate, for another tool.

    Beside it lies its model card, README.md, and the pictures of its evaluation. Return the folder
    or file that the tool is given. Raises ValueError for an adapter that the
    registry does not have, or a form that cannot be written.
    """
    from fairgen.adapters import load_adapter
    from fairgen.exchange import FORMS, export_adapter
    from pipelines.registry.model_card import model_card

    if form not in FORMS:
        raise ValueError(f"format: got {form!r}, allowed are {list(FORMS)}")
    with tracking_server(home) as uri, tempfile.TemporaryDirectory() as scratch:
        registry = Registry(uri, recipe)
        sets = registry.candidates() if candidate else registry.champions()
        known = {
            f"{attribute}-{category}": version
            for attribute, found in sets.items()
            for category, version in found.members.items()
        }
        if name not in known:
            kind = "candidates" if candidate else "champions"
            raise ValueError(f"adapter: got {name!r}, allowed are the {kind} {sorted(known)}")
        version = known[name]
        adapter = load_adapter(registry.download(version, Path(scratch)))
        written = export_adapter(adapter, form, out)
        grid = registry.download_grid(version, out)
        card = model_card(
            recipe, adapter, registry.version_tags(version), grid.name if grid else ""
        )
        card.save(out / "README.md")
    return written


def import_set(
    recipe: Recipe, attribute: str, files: Mapping[str, Path], home: Path
) -> list[RegisteredAdapter]:
    """Register LoRAs of another tool, category -> file, as an attribute's candidates.

    Raises ValueError unless there is one for every category, and for one that does not fit.
    """
    from fairgen.adapters import save_adapter
    from fairgen.backbones import load_backbone
    from fairgen.base_model import fingerprint
    from fairgen.exchange import import_adapter
    from pipelines.registry.trained import TrainedAttribute

    chosen = recipe.attribute(attribute)
    if sorted(files) != sorted(chosen.names):
        raise ValueError(
            f"{attribute}: got {sorted(files)}, allowed is one file for each of "
            f"{list(chosen.names)}"
        )
    backbone = load_backbone(load_base(recipe), recipe.generation.size_px)
    base = fingerprint(backbone.denoiser)
    with tempfile.TemporaryDirectory() as scratch:
        folders = []
        for category in chosen.names:
            adapter = import_adapter(files[category], backbone, chosen, category, base)
            save_adapter(adapter, Path(scratch) / adapter.name)
            folders.append(Path(scratch) / adapter.name)
        trained = TrainedAttribute(folders=tuple(folders), training_seconds=0, denoiser_rows=0)
        with tracking_server(home) as uri, TrainingRuns(uri, recipe) as runs:
            runs.open_job(attribute)
            registered = runs.register_adapter_set(chosen, trained, None)
            runs.close_job(attribute, finished=True)
    return registered
