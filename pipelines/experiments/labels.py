"""Labels of points in a plot, which may not lie on each other."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text


def part_labels(axes: "Axes", labels: "list[Text]") -> None:
    """Move labels off each other and off the points, each with a line to its point; the figure has
    been drawn once, so that the axes have their places.
    """
    from adjustText import adjust_text

    points = np.concatenate([np.asarray(found.get_offsets()) for found in axes.collections])
    adjust_text(
        labels,
        *points.T,
        ax=axes,
        expand=(1.15, 1.7),
        iter_lim=1000,  # steps, not its default of half a second: a busy machine draws the same
        arrowprops={"arrowstyle": "-", "color": "grey", "lw": 0.6},
    )
