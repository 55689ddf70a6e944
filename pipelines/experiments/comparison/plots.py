"""The plots of a comparison, as images inside the page."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.experiments.comparison.comparison import Comparison, ConditionResult
from pipelines.experiments.comparison.conditions import EvalCondition
from pipelines.experiments.labels import part_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OWN, _RIVAL = "#c0392b", "#4a6fa5"
_COLOURS = {"base": "#8a8a8a", "words_quota": _RIVAL, "fairgen": _OWN}


def scatter(comparison: Comparison) -> str:
    """Return mean FD over the attributes against same-seed SSIM, one point a system."""
    return _png(scatter_figure(comparison))


def scatter_figure(comparison: Comparison) -> "Figure":
    """Return the plot of `scatter`, each point with its system's name."""
    figure = _figure(8.5, 4.6)
    axes = figure.add_subplot()
    labels = []
    for name, summary in comparison.systems.items():
        fd = mean_fd({target: systems[name].fd for target, systems in comparison.fairness.items()})
        ssim = comparison.preservation[name].ssim
        own = name in ("iid", "fairgen")
        axes.scatter(ssim, fd, s=60 if own else 36, color=_OWN if own else _RIVAL)
        labels.append(axes.text(ssim, fd, summary.title, fontsize=8))
    axes.set_xlabel("SSIM with the base model's picture of the same seed (right is better)")
    axes.set_ylabel("FD, mean over attributes (down is better)")
    axes.margins(x=0.14, y=0.12)
    figure.draw_without_rendering()
    part_labels(axes, labels)
    return figure


def robustness(comparison: Comparison, conditions: Sequence[EvalCondition]) -> str:
    """Return FD over guidance scales and over steps, and delivered against asked shares."""
    figure = _figure(11, 3.6)
    panels = figure.subplots(1, 3)
    for axes, group, label in zip(
        panels,
        ("guidance", "steps", "share"),
        ("guidance scale", "steps", "share asked"),
        strict=True,
    ):
        chosen = [condition for condition in conditions if condition.group == group]
        for name, colour in _COLOURS.items():
            results = [comparison.conditions[condition.slug][name] for condition in chosen]
            _line(
                axes, group, [float(condition.label) for condition in chosen], results, name, colour
            )
        axes.set_xlabel(label)
        axes.set_ylabel("share delivered" if group == "share" else "FD, mean over attributes")
        axes.set_ylim(bottom=0)
    panels[2].plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--")
    panels[0].legend(
        [comparison.systems[name].title for name in _COLOURS], fontsize=8, frameon=False
    )
    return _png(figure)


def mean_fd(fds: dict[str, float]) -> float:
    """Return the mean over single attributes: joints are left out."""
    single = [fd for target, fd in fds.items() if " x " not in target]
    return sum(single) / len(single)


def data_url(kind: str, content: bytes) -> str:
    """Return bytes as a URL that holds them."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _line(
    axes: "Axes", group: str, x: list[float], results: list[ConditionResult], name: str, colour: str
) -> None:
    values = [one.delivered if group == "share" else mean_fd(one.fd) for one in results]
    axes.plot(x, values, marker="o", markersize=4, color=colour, label=name)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: "Figure") -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return data_url("image/png", buffer.getvalue())
