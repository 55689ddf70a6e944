"""Random adapters with made-up figures, registered: for tests that need champions."""

from pathlib import Path

import torch

from fairgen.adapters import Adapter, AdapterMetadata, save_adapter
from fairgen.backbones import load_backbone
from fairgen.base_model import fingerprint
from fairgen.judging import Estimate, Fairness
from pipelines.evaluation import Abstention, Evaluation, Preservation, SystemFairness
from pipelines.recipe.models import load_base
from pipelines.recipe.recipe import Recipe
from pipelines.registry import TrainingRuns
from pipelines.registry.trained import TrainedAttribute
from pipelines.training.run import run_name


def evaluation_of(
    recipe: Recipe, fd: float, hit_rate: float, abstained: float | None = None
) -> Evaluation:
    """Return an evaluation in which FairGen reaches a given FD and hit rate everywhere, by a judge
    that named no category in a share of the pictures.
    """
    share = None if abstained is None else Estimate(value=abstained, interval=(0, 1))

    def fairness(value: float) -> SystemFairness:
        figures = dict.fromkeys(("fd", "soft_fd", "dev_rat", "parity_gap", "kl"), value)
        prompt = Fairness(**figures, floor=0.05, n=8, delivered={})
        return SystemFairness(
            **figures, interval=(value, value), floor=0.05, n=8,
            prompts={"doctor": prompt}, abstained=share and Abstention(share=share, n=8),
        )  # fmt: skip

    kept = Preservation(
        recognised=0.97, clip_t=0.3, ssim=0.9, psnr=20, clip_i=0.9, diversity=1,
        cell_diversity=1,
        drift={"glasses": 0.02},
    )  # fmt: skip
    confusion = {
        a.name: {
            asked: {
                seen: hit_rate if seen == asked else (1 - hit_rate) / (len(a.names) - 1)
                for seen in a.names
            }
            for asked in a.names
        }
        for a in recipe.attributes
    }
    return Evaluation(
        recipe=recipe.name, recipe_hash=recipe.recipe_hash, num_images=8,
        trained=["doctor"], held_out=[], no_people_unchanged={},
        fairness={
            a.name: {"base": fairness(0.7), "fairgen": fairness(fd)} for a in recipe.attributes
        },
        hit_rates={"all": confusion}, preservation={"base": kept, "fairgen": kept},
        drift_floor={"glasses": 0.05},
    )  # fmt: skip


def register_champions(tracking_uri: str, recipe: Recipe, folder: Path, seed: int) -> None:
    """Make random adapters champions of every attribute: they fit the recipe's base and change its
    pictures a little.
    """
    evaluation = evaluation_of(recipe, fd=0.0, hit_rate=0.97)
    with TrainingRuns(tracking_uri, recipe) as runs:
        for attribute in recipe.attributes:
            folders = random_adapters(recipe, attribute.name, folder, seed)
            trained = TrainedAttribute(folders=folders, training_seconds=1.0, denoiser_rows=1)
            runs.open_job(attribute.name)
            registered = runs.register_adapter_set(attribute, trained, evaluation)
            runs.close_job(attribute.name, finished=True)
            assert all(version.champion for version in registered)


def finish_training(recipe: Recipe, home: Path, denoiser_rows: int = 100) -> None:
    """Leave what a finished run leaves: random adapters that have cost so many rows each
    attribute.
    """
    for attribute in recipe.attributes:
        folder = home / "runs" / run_name(recipe, attribute.name)
        folders = random_adapters(recipe, attribute.name, folder / "adapters", seed=1)
        trained = TrainedAttribute(
            folders=folders, training_seconds=1.0, denoiser_rows=denoiser_rows
        )
        (folder / "finished.json").write_text(trained.model_dump_json())


def random_adapters(
    recipe: Recipe, attribute: str, folder: Path, seed: int, scale: float = 0.02
) -> tuple[Path, ...]:
    """Write one random adapter a category below `folder`; return their folders.

    `scale` is the norm of every projection's change.
    """
    backbone = load_backbone(load_base(recipe))
    base_fingerprint = fingerprint(backbone.denoiser)
    modules = dict(backbone.denoiser.named_modules())
    generator = torch.Generator().manual_seed(seed)
    folders = []
    for category in recipe.attribute(attribute).categories:
        directions = {}
        for path in backbone.projections("qkvo"):
            down = torch.randn(1, modules[path].in_features, generator=generator)
            up = torch.randn(modules[path].out_features, 1, generator=generator)
            directions[path] = down / down.norm(), scale * up / up.norm()
        metadata = AdapterMetadata(
            attribute=attribute, category=category.name, word=category.word,
            base_fingerprint=base_fingerprint, rank=1, alpha=1, eta=2.0,
            projections="qkvo", recipe_hash=recipe.recipe_hash,
        )  # fmt: skip
        adapter = Adapter(metadata, directions)
        save_adapter(adapter, folder / adapter.name)
        folders.append(folder / adapter.name)
    return tuple(folders)
