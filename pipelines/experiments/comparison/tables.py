"""The figures of a comparison as tables, one system a row."""

from collections.abc import Sequence

from rich.table import Table

from pipelines.evaluation import sample_size
from pipelines.experiments.comparison.comparison import Comparison
from pipelines.experiments.comparison.conditions import EvalCondition
from pipelines.experiments.comparison.plots import mean_fd

ROBUSTNESS_HEADINGS = (
    "FD change, guidance 2 to 8",
    "largest gap asked to delivered",
    "named is obeyed",
    "things keep every pixel",
)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the terminal's two tables, one system a row: fairness; preservation and cost."""
    headings = comparison_headings(comparison)
    num_targets = len(comparison.fairness)
    fair = range(1, 1 + num_targets)
    others = [
        index for index in range(1 + num_targets, len(headings)) if not _is_detail(headings[index])
    ]
    tables = []
    for title, chosen in (
        (comparison_caption(comparison), fair),
        ("Preservation, and cost", others),
    ):
        table = Table(title=title)
        table.add_column("system", no_wrap=True)
        for index in chosen:
            table.add_column(headings[index], justify="right")
        for name in comparison.systems:
            cells = [text for text, _ in system_cells(comparison, name)]
            table.add_row(cells[0], *(cells[index] for index in chosen))
        tables.append(table)
    floors = [f"{systems['base'].floor:.3f}" for systems in comparison.fairness.values()]
    drifts = comparison.drift_floor.values()
    tables[1].add_section()
    tables[1].add_row("floor of two samples", "", "", *(f"{floor:.3f}" for floor in drifts), "", "")
    tables[0].add_section()
    tables[0].add_row("floor of a fair coin", *floors)
    return tables


def robustness_table(comparison: Comparison, conditions: Sequence[EvalCondition]) -> Table:
    """Return the table of the figures under other conditions, a system a row."""
    table = Table(title="Robustness")
    table.add_column("system", no_wrap=True)
    for heading in ROBUSTNESS_HEADINGS:
        table.add_column(heading, justify="right")
    for name, figures in robustness_figures(comparison, conditions).items():
        cells = (
            "-" if figures[heading] is None else f"{figures[heading]:.3f}"
            for heading in ROBUSTNESS_HEADINGS
        )
        table.add_row(comparison.systems[name].title, *cells)
    return table


def robustness_figures(
    comparison: Comparison, conditions: Sequence[EvalCondition]
) -> dict[str, dict[str, float | None]]:
    """Return the figures of `ROBUSTNESS_HEADINGS` by system.

    They are how far the mean FD moves over guidance scales from 2 to 8, the largest gap between the
    share asked and delivered, the share of pictures that show the category that a prompt names, and
    the share of pictures without people that equal the base model's.
    """
    by_group: dict[str, list[EvalCondition]] = {}
    for condition in conditions:
        by_group.setdefault(condition.group, []).append(condition)
    by_system: dict[str, dict[str, float | None]] = {}
    for name in next(iter(comparison.conditions.values())):
        results = {c.slug: comparison.conditions[c.slug][name] for c in conditions}
        guided = [
            mean_fd(results[c.slug].fd) for c in by_group["guidance"] if 2 <= float(c.label) <= 8
        ]
        gaps = [abs(float(c.label) - results[c.slug].delivered) for c in by_group["share"]]
        obeyed = [results[c.slug].obeyed for c in by_group.get("explicit", ())]
        known = [share for share in obeyed if share is not None]
        things = [results[c.slug].unchanged for c in by_group.get("no people", ())]
        figures = (
            max(guided) - min(guided),
            max(gaps),
            sum(known) / len(known) if known else None,
            things[0] if things else None,
        )
        by_system[name] = dict(zip(ROBUSTNESS_HEADINGS, figures, strict=True))
    return by_system


def _is_detail(heading: str) -> bool:
    return heading in ("PSNR", "CLIP-I", "diversity", "in cells", "FID", "KID")


def comparison_caption(comparison: Comparison) -> str:
    return (
        f"{sample_size(comparison.num_images, _num_prompts(comparison))} ("
        f"{len(comparison.held_out)} of concepts that no system trained on), same seeds; "
        "FD is the mean of per-prompt FD"
    )


def _num_prompts(comparison: Comparison) -> int:
    return len(next(iter(comparison.fairness.values()))["base"].prompts)


def comparison_headings(comparison: Comparison) -> list[str]:
    drifts = [f"drift {name}" for name in comparison.preservation["base"].drift]
    return [
        "system",
        *(f"FD {name}" for name in comparison.fairness),
        "recognised",
        "SSIM",
        "PSNR",
        "CLIP-I",
        "diversity",
        "in cells",
        *drifts,
        *(("FID", "KID") if comparison.quality else ()),
        "training",
        "cost",
    ]


def system_cells(comparison: Comparison, name: str) -> list[tuple[str, str]]:
    """Return each cell of a system's row: its text, and the interval where it has one."""
    summary, preserved = comparison.systems[name], comparison.preservation[name]
    fairness = [systems[name] for systems in comparison.fairness.values()]
    base_rows = comparison.systems["base"].cost.rows_per_image
    return [
        (summary.title, ""),
        *((f"{one.fd:.3f}", f"{one.interval[0]:.3f} to {one.interval[1]:.3f}") for one in fairness),
        (f"{preserved.recognised:.3f}", ""),
        (f"{preserved.ssim:.3f}", ""),
        (f"{preserved.psnr:.1f}", ""),
        (f"{preserved.clip_i:.3f}", ""),
        ("-" if preserved.diversity is None else f"{preserved.diversity:.2f}", ""),
        ("-" if preserved.cell_diversity is None else f"{preserved.cell_diversity:.2f}", ""),
        *((f"{value:.3f}", "") for value in preserved.drift.values()),
        *_quality_cells(comparison, name),
        (f"{summary.cost.denoiser_rows / 1000:,.0f}k", ""),
        (f"{summary.cost.rows_per_image / base_rows:.2f}x", ""),
    ]


def _quality_cells(comparison: Comparison, name: str) -> list[tuple[str, str]]:
    if not comparison.quality:
        return []
    quality = comparison.quality[name]
    return [
        (f"{quality.fid:.3f}", ""),
        (f"{quality.kid_1000:.2f}", f"± {quality.kid_1000_deviation:.2f}"),
    ]
