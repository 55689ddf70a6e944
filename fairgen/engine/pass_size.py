"""How many rows a pass should have at most: the fewest that cost little more than the cheapest."""

import logging

from fairgen.backbones import Backbone, seconds_of_pass

log = logging.getLogger(__name__)

DEFAULT_ROWS = 16
CANDIDATES, _TURNS = (8, 16, 32, 48), 2
_PATIENCE_S = 0.1  # for a row of a model that it is measured with
_NEAR = 1.1  # of the cheapest row's time: more rows make all of a pass wait


def measured_max_rows(backbone: Backbone) -> int:
    """Return the size of passes that a CPU is quick with, measured within about two seconds.

    On another device, whose memory nobody asks, and for a model whose rows are slow and cost the
    same in any number, it is `DEFAULT_ROWS`.
    """
    if backbone.device.type != "cpu":
        return DEFAULT_ROWS
    seconds_of_pass(backbone, 1)  # prepares what is prepared once
    if seconds_of_pass(backbone, 1) > _PATIENCE_S:
        return DEFAULT_ROWS
    row_s = {
        rows: min(seconds_of_pass(backbone, rows) for _ in range(_TURNS)) / rows
        for rows in CANDIDATES
    }
    found = next(rows for rows in CANDIDATES if row_s[rows] <= _NEAR * min(row_s.values()))
    shown = ", ".join(f"{1000 * row_s[rows]:.1f} ms of {rows}" for rows in CANDIDATES)
    log.info("a pass takes up to %d rows: one takes %s", found, shown)
    return found
