"""Recipes: every shipped one loads, and a wrong one says which field, what it got and what is
allowed.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import DDIMScheduler, PNDMScheduler, SchedulerMixin

from fairgen.portraits.world import WORDS
from pipelines.recipe.folders import DEFAULT_RECIPE
from pipelines.recipe.models import load_base
from pipelines.recipe.preflight import check_models
from pipelines.recipe.recipe import Recipe, load_recipe
from pipelines.recipe.sections import Threshold
from tests.pipelines.conftest import SHIPPED
from tests.tiny import tiny_pipeline

HELD_OUT = load_recipe("portraits-quick").concepts.held_out
EVALUATION = {
    "target": {"gender": "uniform", "age": "uniform"},
    "quick": {"num_images": 2, "concepts": ["doctor"]},
    "full": {"num_images": 2, "concepts": ["nurse"]},
}


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.registered_name("gender", "woman") == f"{recipe.registry.prefix}-gender-woman"
    assert recipe.adapter_names("age") == ("age-young", "age-old")
    assert recipe.attribute("gender").category("woman").word == "female"


def test_shipped_attributes_and_prompt_sets_may_be_named(write_recipe: Callable[..., Path]) -> None:
    content = yaml.safe_load(write_recipe().read_text())
    path = write_recipe()

    def load(**changes: object) -> Recipe:
        path.write_text(yaml.safe_dump(content | changes))
        return load_recipe(path)

    by_name = load(attributes=["gender", content["attributes"][1]])
    assert by_name.attributes == load_recipe(write_recipe()).attributes
    concepts = {"train": "occupations-36", "held_out": "occupations-50"}
    sets = load(concepts=concepts, evaluation=EVALUATION, comparison=None, ablation=None).concepts
    assert len(sets.train) == 36 and len(sets.held_out) == 50 and "doctor" in sets.held_out
    for changes, message in (
        ({"attributes": ["../gender"]}, r"attributes: got '\.\./gender', shipped are \['age', "),
        ({"concepts": {"train": "cats"}}, r"concepts\.train: prompt set: got 'cats', shipped are"),
        ({"concepts": {"train": "no-people"}}, "got 'no-people', allowed are sets of concepts"),
    ):
        with pytest.raises(ValueError, match=message):
            load(**changes)


def test_another_base_model_can_replace_the_recipes_own(
    write_recipe: Callable[..., Path], tiny_base: Path, tmp_path: Path
) -> None:
    path = write_recipe()
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    assert load_recipe(path, base=str(other)).base_path == str(other)
    for base, message in (
        (
            str(tmp_path / "nothing"),
            "which is no folder; allowed are a folder that save_pretrained",
        ),
        ("nobody/no-model", "got 'nobody/no-model', which cannot be loaded"),
    ):
        with pytest.raises(ValueError, match=message):
            load_base(load_recipe(path, base=base))
    half = load_base(load_recipe(write_recipe(loading={"dtype": "bfloat16"}), base=str(other)))
    assert half.unet.dtype == half.text_encoder.dtype == torch.bfloat16
    (other / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"base: got '.*other', which cannot be loaded: .*"):
        load_base(load_recipe(path, base=str(other)))


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("discovery", {"etta": 2}, "discovery.etta: got 2 for an unknown field; allowed are eta, category_eta, category_scale, rank"),
        ("discovery", {"rank": 0}, "discovery.rank: got 0, allowed is greater than"),
        ("overrides", {"height": {"eta": 1.0}}, "overrides: got ['height'], allowed are ['gender', 'age']"),
        ("joint_round", {"num_updates": 0}, "joint_round.num_updates: got 0, allowed is greater than"),
        ("joint_round", {"updates": 9}, "joint_round.updates: got 9 for an unknown field"),
        ("generation", {"step": 9}, "generation.step: got 9 for an unknown field; allowed are steps, guidance_scale"),
        ("jobs", {"workers": 9}, "jobs.workers: got 9 for an unknown field; allowed are autoscaling, num_workers"),
        ("overrides", {"age": {"eta": 0}}, "overrides.age.eta: got 0, allowed is greater than"),
        ("overrides", {"age": {"category_eta": {"child": 1.0}}}, "overrides.age.category_eta: got ['child'], allowed are ['young', 'old']"),
        ("overrides", {"age": {"category_eta": {"old": 0}}}, "overrides.age.category_eta.old: got 0, allowed is greater than"),
        ("overrides", {"age": {"joint_round": {"category_eta": {"child": 1.0}}}}, "overrides.age.category_eta: got ['child'], allowed are ['young', 'old']"),
        ("overrides", {"age": {"joint_round": {"category_scale": {"child": 1.0}}}}, "overrides.age.category_scale: got ['child'], allowed are ['young', 'old']"),
        ("overrides", {"age": {"joint_round": {"rank": 0}}}, "overrides.age.joint_round.rank: got 0, allowed is greater than"),
        ("overrides", {"age": {"joint_round": 7}}, "overrides.age.joint_round: got 7, allowed is dictionary"),
        ("overrides", {"age": {"etta": 1}}, "overrides.age.etta: got 1 for an unknown field; allowed are eta"),
        ("judge", {"kind": "faces"}, "judge.kind: got 'faces', allowed are 'portraits', 'clip', 'fairface'"),
        ("judge", {"batch_size": 0}, "judge.batch_size: got 0, allowed is greater than"),
        ("judge", {"clip": "a/b"}, "judge.clip: got 'a/b' for an unknown field; allowed are path, device, batch_size, confusion, kind"),
        ("judge", {"kind": "fairface", "classes": {}}, "judge.clip: got nothing, allowed is a value"),
        ("judge", {"kind": "onnx-faces"}, "judge.classes: got nothing, allowed is a value"),
        ("judge", {"kind": "onnx-faces", "min_probability": 0.5, "classes": {}}, "judge.min_probability: got 0.5, allowed is greater than 0.5"),
        ("judge", {"kind": "onnx-faces", "classes": {"skin": {"fitzpatrick": {"i": [1, 2]}}}}, "judge.classes.skin.fitzpatrick: got {'i': [1, 2]} for an unknown field; allowed are gender, years, monk"),
        ("judge", {"kind": "onnx-faces", "classes": {"age": {"years": {"young": [0, 35], "old": [30, 80]}}}}, "judge.classes.age.years: got [30, 80] for 'old' and [0, 35] for 'young', allowed are ranges that share nothing"),
        ("judge", {"kind": "onnx-faces", "classes": {"gender": {"gender": {"woman": "f"}}}}, "judge.classes.gender.gender.woman: got 'f', allowed is 'female' or 'male'"),
        ("judge", {"kind": "onnx-faces", "classes": {"age": {}}}, "judge.classes.age: got [], allowed is exactly one of 'gender', 'years' and 'monk'"),
        ("second_judge", {"device": "gpu"}, "second_judge.device: got 'gpu', allowed is"),
        ("generation", {"scheduler": "heun"}, "generation.scheduler: got 'heun', allowed is 'own', 'ddim'"),
        ("generation", {"steps": "many"}, "generation.steps: got 'many', allowed is"),
        ("jobs", {"use_gpu": "always"}, "jobs.use_gpu"),
        ("registry", {"prefix": None}, "registry.prefix: got None"),
        ("thresholds", {"height": {"max_fd": 0.1, "min_hit_rate": 0.9}}, "allowed are exactly the attributes"),
        ("thresholds", {"age": {"max_fd": 9, "min_hit_rate": 1}}, "thresholds.age.max_fd: got 9, allowed is less"),
        ("concepts", {"train": [""]}, "concepts.train.0: got '', allowed is"),
        ("concepts", {"held_out": [" "]}, "concepts.held_out.0: got ' ', allowed is"),
        ("generation", {"guidance_scale": float("inf")}, "generation.guidance_scale: got inf, allowed is"),
        ("discovery", {"eta": float("inf")}, "discovery.eta: got inf, allowed is"),
        ("concepts", {"held_out": ["doctor"]}, "concepts.held_out: got ['doctor'], which train holds too"),
        ("evaluation", {"joints": [["gender", "height"]]}, "evaluation.joints: got ['height'], allowed are ['gender', 'age']"),
        ("evaluation", {"joints": [[]]}, "evaluation.joints.0: got [], allowed is"),
        ("evaluation", {"joints": [["gender", "gender"]]}, "evaluation.joints.0: got ['gender'] more than once"),
        ("evaluation", {"quick": {"num_images": 4, "concepts": ["nurse", "nurse"]}}, "evaluation.quick.concepts: got ['nurse'] more than once"),
        ("concepts", {"held_out": ["nurse", "nurse"]}, "concepts.held_out: got ['nurse'] more than once"),
        ("comparison", {"condition_concepts": ["nurse", "nurse"]}, "comparison.condition_concepts: got ['nurse'] more than once"),
        ("evaluation", {"quick": {"num_images": 4, "concepts": ["pope"]}}, "evaluation.quick.concepts: got ['pope']"),
        ("comparison", {"sweep": {"num_images": 4, "concepts": ["pope"]}}, "comparison.sweep.concepts: got ['pope']"),
        ("comparison", {"calibration": {"num_images": 4, "concepts": ["pope"]}}, "comparison.calibration.concepts: got ['pope']"),
        ("comparison", {"explicit": ["a woman"]}, "explicit: got 'a woman', allowed are texts with one {concept}"),
        ("ablation", {"attribute": "height"}, "ablation.attribute: got 'height', allowed are ['gender', 'age']"),
        ("ablation", {"settings": {"rank": [0]}}, "ablation.settings.rank: got 0, allowed is greater than"),
        ("ablation", {"settings": {"bank": [1]}}, "ablation.settings.bank: got 1"),
        ("comparison", {"condition_concepts": ["pope"]}, "comparison.condition_concepts: got ['pope']"),
        ("comparison", {"phrases": ["a happy person"]}, "phrases: got 'a happy person', allowed are texts with one {concept}"),
        ("comparison", {"quick": {"num_images": 4, "training_share": 0}}, "comparison.quick.training_share: got 0, allowed is greater than"),
        ("evaluation", {"target": {"gender": {"woman": 0.5, "man": 0.4}}}, "evaluation.target: .*0\\.9"),
        ("evaluation", {"target": {"gender": {"woman": 0.5, "mann": 0.5}}}, "evaluation.target: .*mann.*man"),
        ("evaluation", {"target": {"height": "uniform"}}, "evaluation.target: .*height.*gender"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_what_is_allowed(
    write_recipe: Callable[..., Path], section: str, change: dict, message: str
) -> None:
    pattern = message if ".*" in message else re.escape(message)
    with pytest.raises(ValueError, match=pattern):
        load_recipe(write_recipe(**{section: change}))


def test_templates_missing_fields_and_broken_files_are_named(
    write_recipe: Callable[..., Path],
) -> None:
    path = write_recipe()
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "templates": ["a photo of a doctor"]}))
    with pytest.raises(
        ValueError, match=r"templates: got 'a photo of a doctor', allowed are texts with one"
    ):
        load_recipe(path)
    path.write_text(
        yaml.safe_dump({name: part for name, part in content.items() if name != "judge"})
    )
    with pytest.raises(ValueError, match="judge: got nothing"):
        load_recipe(path)
    one = {**content["attributes"][0], "categories": content["attributes"][0]["categories"][:1]}
    path.write_text(yaml.safe_dump({**content, "attributes": [one]}))
    with pytest.raises(ValueError) as refused:
        load_recipe(path)
    assert "attributes.0.categories" in str(refused.value)
    assert str(refused.value).count("allowed is") == 1, "what follows from it is told, too"
    gender = content["attributes"][0]
    same = [{**category, "word": word} for category, word in zip(
        gender["categories"], ("Female ", "female"), strict=True)]  # fmt: skip
    path.write_text(yaml.safe_dump({**content, "attributes": [{**gender, "categories": same}]}))
    with pytest.raises(ValueError, match=r"attributes: got the words .* in 'gender', allowed are"):
        load_recipe(path)
    path.write_text("name: a\ndiscovery: {rank: 1}\nbase: b\ndiscovery: {eta: 2}\n")
    with pytest.raises(ValueError, match=r"got 'discovery' twice, again in line 4; allowed is"):
        load_recipe(path)
    path.write_text("name: [x")
    with pytest.raises(ValueError, match="no valid YAML"):
        load_recipe(path)
    path.write_text("- just\n- a list")
    with pytest.raises(ValueError, match="got list, allowed is a mapping"):
        load_recipe(path)
    with pytest.raises(
        ValueError, match=r"got 'nowhere\.yaml', which is no file; shipped are \['flux', "
    ):
        load_recipe("nowhere.yaml")


def test_an_attribute_can_override_the_settings_of_discovery(
    write_recipe: Callable[..., Path],
) -> None:
    plain = load_recipe(write_recipe())
    recipe = load_recipe(write_recipe(overrides={"age": {"eta": 1.25}}))
    assert recipe.discovery_of("age").eta == 1.25
    assert recipe.discovery_of("gender") == recipe.discovery == plain.discovery
    assert recipe.recipe_hash != plain.recipe_hash
    assert recipe.num_rounds == 1
    both = load_recipe(
        write_recipe(overrides={"age": {"eta": 1.25}}, joint_round={"num_updates": 3})
    )
    assert both.num_rounds == 2 and both.recipe_hash != recipe.recipe_hash
    second = both.discovery_of("age", joint_round=True)
    assert (second.eta, second.num_updates) == (1.25, 3)
    longer = load_recipe(
        write_recipe(
            overrides={"age": {"eta": 1.25, "joint_round": {"num_updates": 5}}},
            joint_round={"num_updates": 3, "rank": 2},
        )
    )
    alone, peers = longer.discovery_of("age"), longer.discovery_of("age", joint_round=True)
    assert (alone.num_updates, alone.rank) == (plain.discovery.num_updates, plain.discovery.rank)
    assert (peers.eta, peers.num_updates, peers.rank) == (1.25, 5, 2)
    assert longer.discovery_of("gender", joint_round=True).num_updates == 3


def test_joint_rounds_run_at_once_or_in_stages_that_hold_every_attribute(
    write_recipe: Callable[..., Path],
) -> None:
    path = write_recipe(joint_round={"num_updates": 3})
    at_once = load_recipe(path)
    assert at_once.stages == (("gender", "age"),)
    content = yaml.safe_load(path.read_text())

    def with_stages(stages: list[list[str]], **sections: object) -> Path:
        path.write_text(yaml.safe_dump({**content, **sections, "joint_stages": stages}))
        return path

    one_by_one = load_recipe(with_stages([["age"], ["gender"]]))
    assert one_by_one.stages == (("age",), ("gender",))
    assert one_by_one.recipe_hash != at_once.recipe_hash
    for stages in ([["age"]], [["age"], ["gender", "age"]], [["age", "gender"], ["height"]]):
        with pytest.raises(ValueError, match=r"joint_stages: got .*, allowed is each of"):
            load_recipe(with_stages(stages))
    with pytest.raises(ValueError, match=r"joint_stages: got .* beside joint_round"):
        load_recipe(with_stages([["age"], ["gender"]], joint_round=None))


def test_a_job_alone_in_its_stage_may_take_more_workers(write_recipe: Callable[..., Path]) -> None:
    path = write_recipe(joint_round={"num_updates": 3}, jobs={"num_workers_alone": 2})
    content = yaml.safe_load(path.read_text())
    assert load_recipe(path).num_workers_of("age", joint_round=True) == 1
    path.write_text(yaml.safe_dump({**content, "joint_stages": [["age"], ["gender"]]}))
    recipe = load_recipe(path)
    assert recipe.num_workers_of("age", joint_round=True) == 2
    assert recipe.num_workers_of("age") == 1


def test_the_hash_follows_what_training_depends_on_and_nothing_else(
    write_recipe: Callable[..., Path], tiny_base: Path
) -> None:
    first = load_recipe(write_recipe()).recipe_hash
    assert (
        load_recipe(
            write_recipe(thresholds={"gender": {"max_fd": 1, "min_hit_rate": 0}})
        ).recipe_hash
        == first
    )
    assert load_recipe(write_recipe(jobs={"max_failures": 9})).recipe_hash == first
    assert load_recipe(write_recipe(loading={"dtype": "auto"})).recipe_hash == first
    assert load_recipe(write_recipe(loading={"dtype": "bfloat16"})).recipe_hash != first
    assert load_recipe(write_recipe(discovery={"eta": 1.5})).recipe_hash != first
    assert (
        load_recipe(
            write_recipe(concepts={"train": ["doctor", "nurse", "firefighter", "teacher", "judge"]})
        ).recipe_hash
        != first
    )
    weights = next((tiny_base / "unet").glob("*.safetensors"))
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    try:
        assert load_recipe(write_recipe()).recipe_hash != first
    finally:
        weights.write_bytes(before)


DEPENDS = {  # field -> another value of it; of these training depends
    "base": "owner/name", "attributes": [], "discovery": {"rank": 3}, "overrides": {},
    "joint_round": {"num_updates": 3}, "joint_stages": [["age"], ["gender"]],
    "templates": ["a drawing of {subject}"], "preserve": ["a tree"], "concepts.train": ["pilot"],
    "loading.revision": "abc", "loading.variant": "fp16", "loading.dtype": "bfloat16",
    "loading.quantization": "torchao-int8", "loading.gguf_file": "model.gguf",
    "loading.config": "owner/name",
    "jobs.num_workers": 3, "jobs.num_workers_alone": 5, "generation.size_px": 32,
    "generation.instruction": "",
}  # fmt: skip
DOES_NOT = {  # and of these it does not: painting, measuring, placing
    "name": "another", "judge": {"kind": "clip", "path": "owner/clip"},
    "second_judge": {"kind": "clip", "path": "owner/clip"}, "evaluation": {"seed": 9},
    "comparison": None, "ablation": None, "thresholds": {"age": {"max_fd": 1, "min_hit_rate": 0}},
    "registry": {"prefix": "other"}, "concepts.held_out": ["pilot"], "concepts.no_people": ["hut"],
    "loading.local_files_only": True, "loading.siblings": True, "loading.attention_slicing": True,
    "loading.vae_slicing": True, "loading.cpu_offload": True, "jobs.autoscaling": True,
    "jobs.cpus_per_worker": 2, "jobs.use_gpu": False, "jobs.gpus_per_worker": 0.5,
    "jobs.max_failures": 9, "jobs.checkpoint_every": 7, "jobs.gradient_checkpointing": True,
    "generation.steps": 3, "generation.guidance_scale": 2.0, "generation.scheduler": "ddim",
    "generation.batch_size": 3, "generation.safety_checker": False, "generation.sizes": ("8x8",),
    "generation.guidance_interval": (0.0, 0.5), "generation.taylorseer": {"cache_interval": 2},
    "generation.timestep_spacing": "trailing", "generation.loras": [{"path": "a.safetensors"}],
}  # fmt: skip


def fields() -> set[str]:
    """Return every field of a recipe, those of its smaller sections by themselves."""
    found = set()
    for name, field in Recipe.model_fields.items():
        if name in ("loading", "jobs", "generation", "concepts"):
            found |= {f"{name}.{inner}" for inner in field.annotation.model_fields}
        else:
            found.add(name)
    return found


def test_of_every_field_it_is_known_whether_training_depends_on_it() -> None:
    assert fields() == set(DEPENDS) | set(DOES_NOT) and not set(DEPENDS) & set(DOES_NOT)


@pytest.mark.parametrize("field", [*DEPENDS, *DOES_NOT])
def test_a_training_is_found_again_by_what_it_depends_on(
    field: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    content = yaml.safe_load(write_recipe().read_text())
    content |= {"joint_round": {"num_updates": 2}, "joint_stages": [["gender"], ["age"]]}
    content |= {"overrides": {"age": {"eta": 1.5}}}

    def hash_of(content: dict[str, Any]) -> str:
        (path := tmp_path / "changed.yaml").write_text(yaml.safe_dump(content))
        return load_recipe(path).recipe_hash

    first = hash_of(content)
    section, _, inner = field.partition(".")
    value = (DEPENDS | DOES_NOT)[field]
    if field == "attributes":
        content["attributes"][0]["categories"][0]["word"] = "womanly"
    elif inner:
        of_section = content.setdefault(section, {})
        old = of_section.get(inner)
        of_section[inner] = [*old, *value] if isinstance(old, list) else value
    elif isinstance(value, dict) and value and field not in ("judge", "second_judge"):
        content[section] |= value
    else:
        content[section] = value
    assert (hash_of(content) != first) == (field in DEPENDS)


@pytest.mark.parametrize("name", ["portraits", "portraits-quick"])
def test_the_recipes_of_the_embedded_model_use_the_words_of_its_captions(name: str) -> None:
    for attribute in load_recipe(name).attributes:
        words = {category.name: (category.word,) for category in attribute.categories}
        assert words == WORDS[attribute.name]


@pytest.mark.parametrize(
    ("fd", "hit_rate", "is_met"),
    [
        (0.1, 0.9, True),
        (0.10004, 0.9, True),
        (0.10006, 0.9, False),
        (0.1, 0.89996, True),
        (0.1, 0.89994, False),
    ],
)
def test_a_stored_figure_meets_a_threshold_where_the_measured_one_does(
    fd: float, hit_rate: float, is_met: bool
) -> None:
    threshold = Threshold(max_fd=0.1, min_hit_rate=0.9)
    assert threshold.met(fd, [1.0, hit_rate]) == is_met
    assert threshold.met(float(f"{fd:.4f}"), [float(f"{hit_rate:.4f}")]) == is_met


def test_shipped_recipes_are_found_from_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("pipelines/recipes/portraits.yaml")
    assert Path(recipe.base_path).is_absolute()
    assert load_recipe("portraits") == load_recipe(DEFAULT_RECIPE) == recipe


def test_a_scheduler_that_the_engine_does_not_follow_is_refused_before_anything_is_trained(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    pipe = tiny_pipeline()
    pipe.register_modules(scheduler=PNDMScheduler())
    pipe.save_pretrained(tmp_path / "base")
    base = str(tmp_path / "base")
    own = load_recipe(write_recipe(generation={"scheduler": "own"}), base)
    with pytest.raises(ValueError, match=r"^generation\.scheduler: got 'own', which is PNDMSched"):
        check_models(own)
    check_models(load_recipe(write_recipe(generation={"scheduler": "ddim"}), base))


@pytest.mark.parametrize(
    ("base_has", "scheduler", "most"),
    [
        (DDIMScheduler(num_train_timesteps=500), "own", 500),
        (DDIMScheduler(num_train_timesteps=500), "dpm-solver++", 500),
        (DDIMScheduler(), "lcm", 50),
    ],
)
def test_more_steps_than_a_schedule_has_are_refused_before_anything_is_trained(
    base_has: SchedulerMixin,
    scheduler: str,
    most: int,
    write_recipe: Callable[..., Path],
    tmp_path: Path,
) -> None:
    pipe = tiny_pipeline()
    pipe.register_modules(scheduler=base_has)
    pipe.save_pretrained(tmp_path / "base")

    def check(steps: int) -> None:
        generation = {"scheduler": scheduler, "steps": steps}
        check_models(load_recipe(write_recipe(generation=generation), str(tmp_path / "base")))

    check(most)
    with pytest.raises(
        ValueError, match=rf"^generation\.steps: got {most + 1}, allowed are at most {most} with"
    ):
        check(most + 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"attributes": [{"name": "hair", "categories": [
                {"name": "short", "word": "short-haired"}, {"name": "long", "word": "long-haired"},
            ]}], "evaluation": {"target": {"hair": "uniform"}, "joints": []},
             "thresholds": {"hair": {"max_fd": 0.1, "min_hit_rate": 0.9}}},
            r"judge: got \['long', 'short'\] of 'hair', which the judge of the drawn world does",
        ),
        ({"concepts": {"held_out": [*HELD_OUT, "plumber"]}}, r"judge: got \['plumber'\] of concepts, which the"),
    ],
)  # fmt: skip
def test_what_the_judge_of_the_drawn_world_does_not_name_is_refused_before_anything_is_trained(
    changes: dict[str, Any], message: str
) -> None:
    content = load_recipe("portraits-quick").model_dump(mode="json", exclude_unset=True)
    for field in ("joint_round", "joint_stages", "overrides", "comparison", "ablation"):
        content.pop(field, None)
    for field, change in changes.items():
        content[field] = (
            {**content[field], **change} if field in ("concepts", "evaluation") else change
        )
    recipe = Recipe.model_validate(content)
    with pytest.raises(ValueError, match=message):
        check_models(recipe)
