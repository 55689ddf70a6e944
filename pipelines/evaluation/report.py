"""The report of an evaluation: tables, pictures of the same seeds, bars of asked and delivered
shares.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from rich.table import Table

from fairgen.judging import SuiteCount
from fairgen.pictures import Block, picture_grid
from pipelines.evaluation.evaluation import Evaluation

_LABELS = {"base": "indicator off", "fairgen": "indicator on"}
_SYSTEMS = {"base": "base", "iid": "FairGen iid", "fairgen": "FairGen quota"}


def write_report(
    evaluation: Evaluation, shown: Mapping[str, Mapping[str, Sequence[bytes]]], out: Path
) -> None:
    """Write `evaluation.json`, `grid.png` and `bars.png` into `out`; `shown` holds PNGs per concept
    and system.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "evaluation.json").write_text(evaluation.model_dump_json(indent=2) + "\n")
    draw_grid(shown).save(out / "grid.png")
    draw_bars(evaluation, out / "bars.png")


def draw_grid(shown: Mapping[str, Mapping[str, Sequence[bytes]]], columns: int = 6) -> Image.Image:
    """Return one row a concept: the base model's pictures on the left, FairGen's of the same seeds
    on the right.
    """
    rows = []
    for concept, systems in shown.items():
        blocks = []
        for label, system in zip((concept, ""), _LABELS, strict=True):
            images = [Image.open(io.BytesIO(content)) for content in systems[system][:columns]]
            blocks.append(Block(images, label))
        rows.append(blocks)
    return picture_grid(rows, list(_LABELS.values()))


def draw_bars(evaluation: Evaluation, path: Path) -> None:
    """Plot, per attribute and concept, the delivered share of each category; dashed lines are the
    shares asked for.
    """
    from matplotlib.figure import Figure

    names = [name for name in evaluation.fairness if " x " not in name]
    figure = Figure(figsize=(13, 3.0 * len(names)), layout="constrained")
    for row, name in enumerate(names):
        for column, system in enumerate(_LABELS):
            axes = figure.add_subplot(len(names), 2, 2 * row + column + 1)
            prompts = evaluation.fairness[name][system].prompts
            bottoms = [0.0] * len(prompts)
            categories = list(next(iter(prompts.values())).delivered)
            for category in categories:
                heights = [fairness.delivered[category] for fairness in prompts.values()]
                axes.bar(list(prompts), heights, bottom=bottoms, label=category, width=0.8)
                bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
            for edge in range(1, len(categories)):
                axes.axhline(edge / len(categories), color="black", linestyle="--", linewidth=0.8)
            axes.set_title(
                f"{name}, {_LABELS[system]}: FD {evaluation.fairness[name][system].fd:.3f}",
                fontsize=10,
            )
            axes.tick_params(axis="x", labelrotation=35, labelsize=8)
            axes.set_ylim(0, 1)
            if column:
                axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


def evaluation_table(evaluation: Evaluation) -> Table:
    """Return the terminal's table: FD per target with interval and floor, base against FairGen."""
    table = Table(
        title=f"Fairness, N={evaluation.num_images} pictures a prompt, {_prompts(evaluation)} "
        "prompts, mean of per-prompt FD [95 % interval over prompts]"
    )
    known = [system for system in _SYSTEMS if system in evaluation.preservation]
    for heading in ("target", *(_SYSTEMS[s] for s in known), "floor of a fair coin"):
        table.add_column(heading)
    for name, systems in evaluation.fairness.items():
        cells = [
            f"{systems[s].fd:.3f} [{systems[s].interval[0]:.3f}, {systems[s].interval[1]:.3f}]"
            for s in known
        ]
        table.add_row(name, *cells, f"{systems['fairgen'].floor:.3f}")
    table.add_section()
    figures = [evaluation.preservation[system].figures() for system in known]
    labels = {
        "recognised": "concept recognised",
        "clip_t": "CLIP-T",
        "ssim": "same-seed SSIM",
        "psnr": "same-seed PSNR, dB",
        "clip_i": "same-seed CLIP-I",
        "diversity": "diversity, x base",
        "cell_diversity": "in cells, x base",
    }
    for name in figures[0]:
        values = (f"{own[name]:.3f}" if name in own else "-" for own in figures)
        table.add_row(labels.get(name, name), *values, "")
    return table


def judges_table(evaluation: Evaluation) -> Table:
    """Return the table of a second judge: FD by its labels, and how far the two judges agree."""
    table = Table(title="The second judge: FD by its labels, and its agreement with the first")
    known = [system for system in _SYSTEMS if system in evaluation.agreement]
    for heading in ("", *(_SYSTEMS[system] for system in known)):
        table.add_column(heading)
    for name, systems in evaluation.second_fairness.items():
        table.add_row(f"FD {name}", *(f"{systems[system].fd:.3f}" for system in known))
    table.add_section()
    for name in next(iter(evaluation.agreement.values())):
        cells = []
        for agreement in (evaluation.agreement[system][name] for system in known):
            kappa = "" if agreement.kappa is None else f", kappa {agreement.kappa:.2f}"
            low, high = agreement.interval
            cells.append(f"{agreement.share:.3f} [{low:.3f}, {high:.3f}]{kappa}")
        table.add_row(f"same {name}", *cells)
    return table


def hit_rate_table(evaluation: Evaluation) -> Table:
    """Return the table of hit rates per category, on trained and on held-out concepts."""
    table = Table(title="Hit rate: the judge saw the category that was asked")
    groups = list(evaluation.hit_rates)
    for heading in ("category", *groups):
        table.add_column(heading)
    for attribute, categories in evaluation.hit_rates["all"].items():
        for category in categories:
            table.add_row(
                f"{attribute} {category}",
                *(f"{evaluation.hit_rate(attribute, category, group):.3f}" for group in groups),
            )
    return table


def gate_table(suites: Sequence[SuiteCount], classes: bool) -> Table:
    """Return the table of the gate's mistakes: a suite a row, with `classes` also a class a row."""
    table = Table(title="The prompt gate on labelled prompts, wrong decisions [95 %]")
    for heading in ("suite", "class", "prompts", "falsely acted", "falsely left alone"):
        table.add_column(heading)
    for suite in suites:
        for counts in (*(suite.groups if classes else ()), suite.total):
            rates = (counts.false_activation, counts.false_skip)
            cells = (str(rate) if rate.total else "-" for rate in rates)
            table.add_row(suite.suite, counts.group, str(counts.num_prompts), *cells)
    return table


def _prompts(evaluation: Evaluation) -> int:
    return len(next(iter(evaluation.fairness.values()))["base"].prompts)
