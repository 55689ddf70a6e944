"""Who is compared with whom, and the actor that lets one of them learn, be swept and paint."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from fairgen.adapters import load_adapter
from fairgen.backbones import load_backbone
from fairgen.baselines.as_lora import AsLora
from fairgen.baselines.concept_sliders import ConceptSliders
from fairgen.baselines.fair_diffusion import FairDiffusion
from fairgen.baselines.gated import Gated, weights_of
from fairgen.baselines.h_space import HSpace
from fairgen.baselines.official import Official
from fairgen.baselines.system import Ask, BaselineTask, Sampling, System, Weights
from fairgen.baselines.uce import Uce
from fairgen.baselines.unmodified import Unmodified
from fairgen.baselines.words import Words
from fairgen.calibration import Confusion, calibrated
from fairgen.indicator import TargetDistribution
from fairgen.judging import EmbeddedImages, PromptScore, fairness_of, hit_rates, score_pictures
from fairgen.ledger import assign
from pipelines.evaluation import png
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition
from pipelines.files import write, write_bytes
from pipelines.recipe.recipe import Recipe

Drawn = Literal["nothing", "quota", "iid", "call"]
_CALL = 4


@dataclass(frozen=True)
class ComparedSystem:
    """A system, and how the categories that are asked of it are drawn.

    "call" draws once for every four pictures, as one call of the official code paints them.
    `everywhere`: it is also looked at under other conditions than the plain one. `calibrated`: what
    it was measured to miss is made up for.
    """

    name: str
    system: type[System]
    drawn: Drawn
    label: str = ""
    everywhere: bool = False
    calibrated: bool = False

    @property
    def title(self) -> str:
        return f"{self.system.title}{self.label and ', '}{self.label}"


BASE = ComparedSystem("base", Unmodified, "nothing", everywhere=True)
FAIRGEN = ComparedSystem("fairgen", Gated, "quota", "quota", everywhere=True)
COMPARED_SYSTEMS = (
    BASE,
    ComparedSystem("words", Words, "iid", "coin"),
    ComparedSystem("words_quota", Words, "quota", "quota", everywhere=True),
    ComparedSystem("fair_diffusion", FairDiffusion, "iid"),
    ComparedSystem("uce", Uce, "nothing"),
    ComparedSystem("concept_sliders", ConceptSliders, "iid"),
    ComparedSystem("h_space", HSpace, "iid"),
    ComparedSystem("official", Official, "call", "coin a call"),
    ComparedSystem("official_iid", Official, "iid", "coin"),
    ComparedSystem("iid", Gated, "iid", "coin"),
    FAIRGEN,
    ComparedSystem("calibrated", Gated, "quota", "quota, calibrated", calibrated=True),
    ComparedSystem("as_lora", AsLora, "quota", "quota"),
)
_OWN = (Gated, AsLora)
_CALIBRATION = EvalCondition("calibration")


class SweepPoint(BaseModel):
    """One setting of a system's knob, on concepts that it was trained on: its FD, mean over
    attributes and prompts, and how often the judge still recognised the concept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: float
    fd: float
    recognised: float

    @property
    def merit(self) -> float:
        """What the best setting has the most of: fairness is nothing where the concept is lost."""
        return self.recognised - self.fd


class Cost(BaseModel):
    """What training has spent in rows through the denoiser, and what a picture takes a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    denoiser_rows: int
    rows_per_image: float


class ComparisonWorker:
    """Loads the base model once; one Ray actor a core. What each method finds, it leaves as a file,
    the one that says that it has ended last.
    """

    def __init__(
        self,
        recipe: Recipe,
        adapter_folders: Sequence[Path],
        own_rows: int,
        max_rows: int,
        folder: Path,
    ) -> None:
        self._recipe, self._folder, self._own_rows = recipe, folder, own_rows
        self._adapters = list(adapter_folders)
        self._backbone = load_backbone(recipe.load_pipe(), recipe.generation.size_px)
        self._judge = recipe.load_judge()
        self._target = TargetDistribution.from_request(recipe.evaluation.target, recipe.attributes)
        self._sampling = Sampling(recipe.generation.steps, recipe.generation.guidance_scale)
        self._lesson = BaselineTask(
            attributes=recipe.attributes,
            concepts=recipe.concepts.train,
            templates=recipe.templates,
            preserve=recipe.preserve,
            sampling=self._sampling,
            judge=self._judge,
            max_rows=max_rows,
        )

    def learn(self, system: type[System]) -> None:
        """Train a system, or load FairGen's own adapters, and keep weights and cost."""
        from safetensors.torch import save_file

        folder = system_folder(self._folder, system)
        folder.mkdir(parents=True, exist_ok=True)
        if system in _OWN:
            loaded = [load_adapter(path) for path in self._adapters]
            weights = weights_of({adapter.name: adapter.directions for adapter in loaded})
            denoiser_rows = self._own_rows
        else:
            weights, spent = system.train(self._backbone, self._lesson)
            denoiser_rows = spent.denoiser_rows
        save_file(weights, folder / "weights.safetensors")
        made = system(self._backbone, self._lesson, weights, 1.0)
        made.close()
        cost = Cost(denoiser_rows=denoiser_rows, rows_per_image=made.rows_per_image)
        write(folder / "cost.json", cost.model_dump_json())

    def sweep(self, system: type[System], setting: float) -> None:
        """Try one setting of a system's knob by quota on trained concepts."""
        assert self._recipe.comparison is not None
        size = self._recipe.comparison.sweep
        contender = ComparedSystem("sweep", system, "nothing" if system is Uce else "quota")
        attributes = {a.name: a for a in self._recipe.attributes}
        fds, recognised = [], []
        painter = self._system(system, setting)
        for concept in size.concepts:
            score, _ = self._score(contender, painter, concept, size.num_images, None)
            recognised += score.recognised
            for name in self._target.attributes:
                target = self._target.marginalised((name,))
                fds.append(fairness_of(score, target, attributes).fd)
        painter.close()
        trial = SweepPoint(
            setting=setting,
            fd=sum(fds) / len(fds),
            recognised=sum(recognised) / len(recognised),
        )
        write(sweep_point_path(self._folder, system, setting), trial.model_dump_json())

    def calibrate(self, concept: str, num_images: int) -> None:
        """Paint and judge what FairGen's confusion is measured on."""
        path = score_path(self._folder, _CALIBRATION, FAIRGEN.name, concept)
        painter = self._system(Gated, best_setting(self._folder, Gated))
        score, embedded = self._score(FAIRGEN, painter, concept, num_images, None)
        painter.close()
        save_pictures(path, embedded.images)
        write(path, score.model_dump_json())

    def paint(
        self, contender: ComparedSystem, condition: EvalCondition, concept: str, num_images: int
    ) -> None:
        """Paint and judge one prompt; the base model's pictures of the seeds, under the same
        condition, are the reference.
        """
        path = score_path(self._folder, condition, contender.name, concept)
        reference = None
        if contender.name != "base":
            reference = load_embedded(
                score_path(self._folder, condition.reference_condition, "base", concept)
            )
        setting = best_setting(self._folder, contender.system)
        painter = self._system(contender.system, setting)
        score, embedded = self._score(contender, painter, concept, num_images, reference, condition)
        painter.close()
        save_pictures(path, embedded.images)
        if condition == PLAIN or contender == BASE:
            save_features(path, embedded.features)
        write(path, score.model_dump_json())

    def _system(self, system: type[System], setting: float) -> System:
        from safetensors.torch import load_file

        weights: Weights = load_file(system_folder(self._folder, system) / "weights.safetensors")
        return system(self._backbone, self._lesson, weights, setting)

    def _score(
        self,
        contender: ComparedSystem,
        painter: System,
        concept: str,
        num_images: int,
        reference: EmbeddedImages | None,
        condition: EvalCondition = PLAIN,
    ) -> tuple[PromptScore, EmbeddedImages]:
        seed, template = self._recipe.evaluation.seed, self._recipe.templates[0]
        confusions = confusions_of(self._recipe, self._folder) if contender.calibrated else {}
        target = asked_target(self._recipe, contender, condition, concept, confusions)
        categories = draw_categories(target, contender.drawn, num_images, seed)
        seeds = list(range(seed, seed + num_images))
        phrase = condition.phrase.format(concept=concept)
        sampling = Sampling(
            condition.num_steps or self._sampling.num_steps,
            condition.guidance_scale or self._sampling.guidance_scale,
        )
        ask = Ask(template, phrase, seeds, categories)
        batch_size = self._recipe.generation.batch_size
        images = painter.paint_in_batches(ask, sampling, batch_size)
        return score_pictures(
            images,
            categories,
            system=contender.name,
            concept=concept,
            prompt=condition.prompt_of(self._recipe, concept),
            attributes=self._recipe.attributes,
            judge=self._judge,
            reference=reference,
        )


def asked_target(
    recipe: Recipe,
    contender: ComparedSystem,
    condition: EvalCondition,
    concept: str,
    confusions: Mapping[str, Confusion],
) -> TargetDistribution:
    """Return what a contender is asked for: FairGen only for what the prompt gate leaves free,
    turned by the confusions.
    """
    target = condition.target_of(recipe)
    if contender.system is Gated:
        free = condition.gate_of(recipe, concept).free
        target = target.marginalised([name for name in target.attributes if name in free])
    return calibrated(target, confusions)


def draw_categories(
    target: TargetDistribution, drawn: Drawn, num_images: int, seed: int
) -> list[dict[str, str]]:
    """Return the categories that are asked of each picture, by attribute."""
    if drawn == "nothing":
        return [{} for _ in range(num_images)]
    if drawn == "call":
        calls = assign(target, -(-num_images // _CALL), seed, "iid")
        cells = [calls[index // _CALL] for index in range(num_images)]
    else:
        cells = assign(target, num_images, seed, drawn)
    return [dict(zip(target.attributes, target.cells[cell], strict=True)) for cell in cells]


def system_folder(folder: Path, system: type[System]) -> Path:
    return folder / "systems" / system.__name__


def sweep_point_path(folder: Path, system: type[System], setting: float) -> Path:
    return system_folder(folder, system) / f"trial-{setting:g}.json"


def sweep_points(folder: Path, system: type[System]) -> list[SweepPoint]:
    """Return the tried settings of a system's knob, in their order."""
    paths = [sweep_point_path(folder, system, setting) for setting in system.settings]
    return [SweepPoint.model_validate_json(path.read_text()) for path in paths if path.exists()]


def best_setting(folder: Path, system: type[System]) -> float:
    """Return the setting with the most merit; of a system without a knob its only one."""
    found = sweep_points(folder, system)
    return max(found, key=lambda trial: trial.merit).setting if found else system.settings[0]


def learning_cost(folder: Path, system: type[System]) -> Cost:
    return Cost.model_validate_json((system_folder(folder, system) / "cost.json").read_text())


def score_path(folder: Path, condition: EvalCondition, name: str, concept: str) -> Path:
    return folder / condition.slug / name / f"{concept.replace(' ', '-')}.json"


def confusions_of(recipe: Recipe, folder: Path) -> dict[str, Confusion]:
    """Return what was seen where FairGen asked, by attribute, on the concepts of calibration."""
    assert recipe.comparison is not None
    scores = [
        PromptScore.model_validate_json(path.read_text())
        for path in calibration_paths(recipe, folder)
    ]
    return {attribute.name: hit_rates(scores, attribute) for attribute in recipe.attributes}


def calibration_paths(recipe: Recipe, folder: Path) -> list[Path]:
    """Return the scores that calibration leaves, concept by concept."""
    assert recipe.comparison is not None
    concepts = recipe.comparison.calibration.concepts
    return [score_path(folder, _CALIBRATION, FAIRGEN.name, concept) for concept in concepts]


def save_features(path: Path, features: Tensor) -> None:
    """Write the judge's features of the pictures beside a score."""
    from safetensors.torch import save

    write_bytes(path.with_suffix(".safetensors"), save({"features": features.contiguous()}))


def load_features(path: Path) -> Tensor:
    """Return the judge's features of the pictures beside a score, N x D."""
    from safetensors.torch import load_file

    return load_file(path.with_suffix(".safetensors"))["features"]


def load_embedded(path: Path) -> EmbeddedImages:
    """Return the pictures beside a score, with the judge's features of them."""
    return EmbeddedImages(load_pictures(path), load_features(path))


def save_pictures(path: Path, images: Sequence[Image.Image]) -> None:
    """Write pictures as one PNG strip beside a score."""
    from diffusers.utils import make_image_grid

    path.parent.mkdir(parents=True, exist_ok=True)
    strip = make_image_grid([image.convert("RGB") for image in images], 1, len(images))
    write_bytes(path.with_suffix(".png"), png(strip))


def load_pictures(path: Path) -> list[Image.Image]:
    """Return the pictures of a strip of square pictures beside a score."""
    strip = Image.open(io.BytesIO(path.with_suffix(".png").read_bytes())).convert("RGB")
    side = strip.height
    return [strip.crop((x, 0, x + side, side)) for x in range(0, strip.width, side)]
