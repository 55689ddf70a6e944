"""Which versions become candidate and champion: by an evaluation, or by an operator."""

import hashlib
import logging
from typing import TYPE_CHECKING

from fairgen.adapters import load_adapter
from fairgen.attributes import Attribute
from pipelines.registry.description import describe
from pipelines.registry.trained import TrainedAttribute
from pipelines.registry.version_tags import (
    UNMEASURED,
    measured_tags,
    meets_thresholds,
    version_tags,
)
from pipelines.registry.versions import (
    CANDIDATE,
    CHAMPION,
    RegisteredAdapter,
    Registry,
    delete_version,
    has_files,
)

if TYPE_CHECKING:
    from pipelines.evaluation import Evaluation

log = logging.getLogger(__name__)


def register_adapter_set(
    registry: Registry,
    run_id: str,
    attribute: Attribute,
    trained: TrainedAttribute,
    evaluation: "Evaluation | None",
) -> list[RegisteredAdapter]:
    """Register one version per category under a shared `adapter_set` tag and point the aliases
    at them.

    Every version becomes `candidate`. An evaluation that reaches the recipe's thresholds makes
    the set `champion`; one that does not takes the alias from these versions.
    """
    adapters = [load_adapter(folder) for folder in trained.folders]
    adapter_set = hashlib.sha256(
        "".join(f"{adapter.name} {adapter.sha256}" for adapter in adapters).encode()
    ).hexdigest()[:16]
    cost = {
        "training_seconds": f"{trained.training_seconds}",
        "denoiser_rows": f"{trained.denoiser_rows}",
    }
    numbers: dict[str, str] = {}
    for adapter, folder in zip(adapters, trained.folders, strict=True):
        name = registry.recipe.registered_name(attribute.name, adapter.metadata.category)
        tags = {"adapter_set": adapter_set, **version_tags(adapter), **cost}
        tags |= measured_tags(adapter, evaluation)
        found = registry.find_version(name, adapter_set)
        if found is not None and not has_files(registry, name, found):
            log.warning("%s version %s has lost its files: it is registered anew", name, found)
            delete_version(registry.client, name, found)
            found = None
        if found is None:
            found = registry.log_version(name, adapter, folder, tags, run_id)
        stored_tags = registry.client.get_model_version(name, found).tags
        for key in (key for key, value in tags.items() if stored_tags.get(key) != value):
            registry.client.set_model_version_tag(name, found, key, tags[key])
        describe(registry, name, found, adapter, {**stored_tags, **tags}, run_id)
        numbers[name] = found
    registry.point(CANDIDATE, list(numbers), adapter_set)
    if evaluation is not None and meets_thresholds(registry.recipe, attribute, evaluation):
        registry.point(CHAMPION, list(numbers), adapter_set)
    elif evaluation is not None:
        for name, number in numbers.items():
            if registry.aliased(name, CHAMPION) == number:
                registry.client.delete_registered_model_alias(name, CHAMPION)
    return [
        RegisteredAdapter(name, number, registry.aliased(name, CHAMPION) == number)
        for name, number in numbers.items()
    ]


def promote(
    registry: Registry, attribute: str, adapter_set: str | None, force: bool
) -> list[RegisteredAdapter]:
    """Make a set champion, the candidates' when None; return its versions.

    Raises ValueError for an unknown attribute, a set that is not complete, or one that was not
    measured to reach the recipe's thresholds, unless forced.
    """
    names = [
        registry.recipe.registered_name(attribute, category)
        for category in registry.recipe.attribute(attribute).names
    ]
    versions = [found for found in registry.versions() if found.name in names]
    if adapter_set is None:
        candidates = {v.tags["adapter_set"] for v in versions if CANDIDATE in v.aliases}
        if len(candidates) != 1:
            raise ValueError(f"{attribute}: got candidates of sets {sorted(candidates)}, "
                             "allowed is one; name the set")  # fmt: skip
        adapter_set = candidates.pop()
    chosen = {v.name: v for v in versions if v.tags["adapter_set"] == adapter_set}
    if missing := sorted(set(names) - chosen.keys()):
        known = sorted({v.tags["adapter_set"] for v in versions})
        raise ValueError(
            f"adapter_set: got {adapter_set!r}, which lacks {missing}; registered are {known}"
        )
    threshold = registry.recipe.thresholds[attribute]
    for found in chosen.values():
        fd, hit_rate = (found.tags.get(key, UNMEASURED) for key in ("fd", "hit_rate"))
        good = UNMEASURED not in (fd, hit_rate) and threshold.met(float(fd), [float(hit_rate)])
        if not (good or force):
            raise ValueError(
                f"{found.name} version {found.version}: got fd {fd} and hit rate "
                f"{hit_rate}, allowed are at most {threshold.max_fd} and at least "
                f"{threshold.min_hit_rate}"
            )
    registry.point(CHAMPION, names, adapter_set)
    return [
        RegisteredAdapter(name, found.version, registry.aliased(name, CHAMPION) == found.version)
        for name, found in chosen.items()
    ]
