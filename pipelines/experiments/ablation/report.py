"""The report of an ablation: tables, and plots of fairness against preservation and of hit rates
over cost.
"""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from fairgen.files import written_whole
from pipelines.evaluation import sample_size
from pipelines.experiments.ablation.results import OWN, Ablation, Variant
from pipelines.experiments.labels import part_labels
from pipelines.files import write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_CURVES = {"fairgen": "FairGen", "official": "official loop"}


def write_ablation(ablation: Ablation, out: Path) -> None:
    """Write `ablation.json` and `ablation.png` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write(out / "ablation.json", ablation.model_dump_json(indent=2) + "\n")
    with written_whole(out / "ablation.png") as partial:
        ablation_figure(ablation).savefig(partial, format="png", dpi=120)


def ablation_figure(ablation: Ablation) -> "Figure":
    """Return the plots: FD against SSIM and, where the judge names what was not asked, against its
    drift; hit rates over rows.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 6.4), layout="constrained")
    measures: dict[str, Callable[[Variant], float]] = {
        "same-seed SSIM (right is better)": lambda variant: variant.ssim
    }
    if ablation.variants[0].drift:
        measures["drift of what was not asked, mean (left is better)"] = mean_drift
    *panels, cost = figure.subplots(1, len(measures) + 1)
    labels = {
        axes: _against(axes, ablation, label, measure)
        for axes, (label, measure) in zip(panels, measures.items(), strict=True)
    }
    _learning(cost, ablation)
    panels[0].legend(fontsize=8, frameon=False)
    figure.draw_without_rendering()  # labels are placed once the axes have their places
    for axes, texts in labels.items():
        part_labels(axes, texts)
    return figure


def ablation_tables(ablation: Ablation) -> list[Table]:
    """Return the terminal's tables: the variants, and the cost of a hit rate."""
    variants = Table(
        title=f"{ablation.attribute}, first round alone, one setting changed at a time, "
        f"{sample_size(ablation.num_images, len(ablation.concepts))}"
    )
    variants.add_column("setting", no_wrap=True)
    for heading in ("FD [95 %]", "lowest hit rate", "recognised", "SSIM", "drift", "rows"):
        variants.add_column(heading)
    for v in ablation.variants:
        variants.add_row(
            f"{v.group} {v.value}".rstrip(),
            f"{v.fd:.3f} [{v.interval[0]:.3f}, {v.interval[1]:.3f}]",
            f"{v.hit_rate:.3f}",
            f"{v.recognised:.3f}",
            f"{v.ssim:.3f}",
            f"{mean_drift(v):.3f}" if v.drift else "-",
            f"{v.denoiser_rows / 1000:,.0f}k",
        )
    learning = Table(title=f"{ablation.learning}: rows to a hit rate of {ablation.hit_rate:g}")
    for heading in ("loop", "denoiser rows", "gradient rows", "highest hit rate", "rows in all"):
        learning.add_column(heading)
    for name, curve in ablation.curves.items():
        reached = curve.reached(ablation.hit_rate)
        learning.add_row(
            _CURVES[name],
            f"{reached.denoiser_rows / 1000:,.0f}k" if reached else "not reached",
            f"{reached.gradient_rows / 1000:,.1f}k" if reached else "",
            f"{max(point.hit_rate for point in curve.points):.3f}",
            f"{curve.points[-1].denoiser_rows / 1000:,.0f}k",
        )
    return [variants, learning]


def mean_drift(variant: Variant) -> float:
    """Return the mean drift over the attributes that were not asked."""
    return sum(variant.drift.values()) / len(variant.drift)


def _against(
    axes: "Axes", ablation: Ablation, label: str, measure: Callable[[Variant], float]
) -> "list[Text]":
    """Plot the variants and return their labels, which may lie on each other."""
    own = next(variant for variant in ablation.variants if variant.group == OWN)
    labels = []
    others = [variant for variant in ablation.variants if variant.group != OWN]
    for group, members in groupby(others, key=lambda variant: variant.group):
        chosen = list(members)
        x, y = [measure(v) for v in chosen], [v.fd for v in chosen]
        axes.scatter(x, y, s=34, label=group)
        labels += [
            axes.text(left, up, f"{group} {variant.value}", fontsize=7)
            for variant, left, up in zip(chosen, x, y, strict=True)
        ]
    axes.scatter([measure(own)], [own.fd], s=130, marker="*", color="black", label="the recipe")
    axes.set_xlabel(label)
    axes.set_ylabel(f"FD of {ablation.attribute} (down is better)")
    highest = max(variant.fd for variant in ablation.variants)
    axes.set_ylim(-0.15 * highest, 1.15 * highest + 0.001)
    axes.margins(x=0.15)
    return labels


def _learning(axes: "Axes", ablation: Ablation) -> None:
    from matplotlib.ticker import LogLocator

    for name, curve in ablation.curves.items():
        rows = [point.denoiser_rows for point in curve.points]
        rates = [point.hit_rate for point in curve.points]
        axes.plot(rows, rates, marker="o", markersize=4, label=_CURVES[name])
    axes.axhline(ablation.hit_rate, color="black", linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("denoiser rows spent on training")
    axes.set_ylabel(f"hit rate of {ablation.learning}")
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize=8, frameon=False)
