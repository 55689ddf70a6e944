"""The report of a comparison: one HTML file that needs no network."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from pipelines.experiments.comparison.comparison import Comparison
from pipelines.experiments.comparison.conditions import PLAIN, EvalCondition
from pipelines.experiments.comparison.files import score_path
from pipelines.experiments.comparison.plots import data_url, mean_fd, robustness, scatter
from pipelines.experiments.comparison.systems import COMPARED_SYSTEMS
from pipelines.experiments.comparison.tables import (
    ROBUSTNESS_HEADINGS,
    comparison_caption,
    comparison_headings,
    robustness_figures,
    system_cells,
)
from pipelines.files import write

_NUM_CONCEPTS_SHOWN, _NUM_SHOWN = 4, 8
_SCALE = 1.5


@dataclass(frozen=True)
class _PlainTable:
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_comparison(
    comparison: Comparison, conditions: Sequence[EvalCondition], folder: Path, out: Path
) -> None:
    """Write `compare.json` and `compare.html` into `out`; pictures come from the run's folder."""
    out.mkdir(parents=True, exist_ok=True)
    write(out / "compare.json", comparison.model_dump_json(indent=2) + "\n")
    write(out / "compare.html", _page(comparison, conditions, folder))


def _page(comparison: Comparison, conditions: Sequence[EvalCondition], folder: Path) -> str:
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("page.html").render(
        recipe=comparison.recipe,
        caption=comparison_caption(comparison),
        floors=", ".join(
            f"{name} {systems['base'].floor:.3f}" for name, systems in comparison.fairness.items()
        ),
        headings=comparison_headings(comparison),
        figures={name: system_cells(comparison, name) for name in comparison.systems},
        scatter=scatter(comparison),
        condition_concepts=", ".join(conditions[0].concepts),
        first_attribute=next(iter(comparison.fairness)),
        robustness=robustness(comparison, conditions),
        robustness_table=_robustness(comparison, conditions),
        phrases=_phrases(comparison, conditions),
        interference=_interference(comparison, conditions),
        entanglement=_entanglement(comparison, conditions),
        drift_floors=", ".join(
            f"{floor:.3f} ({name})" for name, floor in comparison.drift_floor.items()
        ),
        grids={concept: _strips(comparison, folder, concept) for concept in _shown(comparison)},
        sweeps=_sweeps(comparison),
    )


def _robustness(comparison: Comparison, conditions: Sequence[EvalCondition]) -> _PlainTable:
    rows = [
        [
            comparison.systems[name].title,
            *("-" if figure is None else f"{figure:.3f}" for figure in figures.values()),
        ]
        for name, figures in robustness_figures(comparison, conditions).items()
    ]
    return _PlainTable(["system", *ROBUSTNESS_HEADINGS], rows)


def _phrases(comparison: Comparison, conditions: Sequence[EvalCondition]) -> _PlainTable:
    rows = [
        [
            condition.label,
            comparison.systems[name].title,
            f"{mean_fd(result.fd):.3f}" if result.fd else "-",
            "-" if result.obeyed is None else f"{result.obeyed:.3f}",
            f"{result.recognised:.3f}",
            f"{result.ssim:.3f}",
            f"{result.unchanged:.3f}",
            ", ".join(f"{head} {drift:.3f}" for head, drift in result.drift.items()) or "-",
        ]
        for condition in conditions
        if condition.group in ("phrase", "explicit", "no people")
        for name, result in comparison.conditions[condition.slug].items()
    ]
    head = ["prompt", "system", "mean FD", "obeyed", "recognised", "SSIM", "same pixels", "drift"]
    return _PlainTable(head, rows)


def _interference(comparison: Comparison, conditions: Sequence[EvalCondition]) -> _PlainTable:
    """Return hit rates of each category alone and beside the other attributes'."""
    together = comparison.conditions[PLAIN.slug]
    systems = [name for name, result in together.items() if result.hit_rates]
    rows = []
    for condition in conditions:
        if condition.group == "alone":
            attribute, alone = condition.label, comparison.conditions[condition.slug]
            for category in alone[systems[0]].hit_rates[attribute]:
                found = [
                    results[name].hit_rates[attribute].get(category)
                    for name in systems
                    for results in (alone, together)
                ]
                rates = ["-" if rate is None else f"{rate:.3f}" for rate in found]
                rows.append([f"{attribute} {category}", *rates])
    head = [
        f"{comparison.systems[name].title}, {how}"
        for name in systems
        for how in ("alone", "together")
    ]
    return _PlainTable(["hit rate", *head], rows)


def _entanglement(comparison: Comparison, conditions: Sequence[EvalCondition]) -> _PlainTable:
    """Return how far the other attributes move when one is asked for alone."""
    results = [
        (condition.label, name, result)
        for condition in conditions
        if condition.group == "alone"
        for name, result in comparison.conditions[condition.slug].items()
        if name != "base"
    ]
    moved = sorted({head for *_, result in results for head in result.drift})
    rows = [
        [
            attribute,
            comparison.systems[name].title,
            *(f"{result.drift[head]:.3f}" if head in result.drift else "" for head in moved),
        ]
        for attribute, name, result in results
    ]
    return _PlainTable(["asked alone", "system", *(f"drift of {head}" for head in moved)], rows)


def _sweeps(comparison: Comparison) -> _PlainTable:
    one_a_method = {one.source + one.knob: one for one in comparison.systems.values()}
    rows = [
        [
            summary.title.split(",")[0],
            summary.knob,
            f"{point.setting:g}{' (taken)' if point.setting == summary.setting else ''}",
            f"{point.fd:.3f}",
            f"{point.recognised:.3f}",
        ]
        for summary in one_a_method.values()
        for point in summary.sweep
    ]
    return _PlainTable(["system", "knob", "setting", "mean FD", "recognised"], rows)


def _shown(comparison: Comparison) -> list[str]:
    """Return the concepts whose pictures are shown, the ones that no system trained on first."""
    held_out = comparison.held_out[: _NUM_CONCEPTS_SHOWN // 2]
    return [*held_out, *comparison.trained][:_NUM_CONCEPTS_SHOWN]


def _strips(comparison: Comparison, folder: Path, concept: str) -> dict[str, str]:
    """Return the pictures of a concept as data URLs, by the title of the system."""
    return {
        comparison.systems[compared.name].title: _strip(
            score_path(folder, PLAIN, compared.name, concept).with_suffix(".png")
        )
        for compared in COMPARED_SYSTEMS
    }


def _strip(path: Path) -> str:
    """Return the first pictures of a strip of square ones as a data URL."""
    with Image.open(path) as strip:
        side = strip.height
        shown = strip.convert("RGB").crop((0, 0, min(_NUM_SHOWN * side, strip.width), side))
        size = int(_SCALE * shown.width), int(_SCALE * side)
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, format="WEBP", quality=90)
    return data_url("image/webp", buffer.getvalue())
