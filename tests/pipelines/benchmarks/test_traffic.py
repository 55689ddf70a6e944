"""Shapes of traffic are delivered as the table of `docs/traffic.json` says, in a small form."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.benchmarks.memory_estimate import markdown_table
from pipelines.benchmarks.traffic import (
    TRAFFIC_COLUMNS,
    Traffic,
    TrafficSize,
    draw_traffic,
    largest_gap,
    measure_traffic,
    traffic_cells,
)
from pipelines.recipe.recipe import load_recipe
from tests.pipelines.endpoint import open_endpoint
from tests.pipelines.registered import register_champions

SIZE = TrafficSize(pictures=20, decisions=200, streams=300)
SHOWN = Path(__file__).parents[3] / "docs" / "traffic.json"


def check(traffic: Traffic) -> None:
    """Hold the rows against what the endpoint and the library promise."""
    rows = {(row.case, row.level): row for row in traffic.rows}
    for (case, level), row in rows.items():
        if level == "prompt" or (level == "person" and "differ" in case):
            assert row.largest_gap <= 1, row
        elif level == "caller":
            assert row.fd <= (0.5 if row.n >= 50 else 0.75) * row.coin_fd, row
        else:
            assert row.fd < row.coin_fd, row
    assert rows["one prompt repeated", "prompt"].largest_gap < 1
    assert rows["50 persons, prompts differ", "all"].fd <= 0.005


@pytest.mark.slow
def test_indicator_and_endpoint_deliver_what_is_promised(
    tracking_uri: str, make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(make_recipe(tmp_path, "played"))
    register_champions(tracking_uri, recipe, tmp_path / "adapters", seed=1)
    for endpoint in open_endpoint(recipe, tracking_uri=tracking_uri):
        found = measure_traffic(recipe, SIZE, endpoint.address, library=False)
    cases = {row.case.partition(":")[0] for row in found.rows}
    assert {"endpoint", "sent again", "indicator killed half-way"} <= cases
    assert found.decisions_per_s > 0
    check(found)
    draw_traffic(found, tmp_path / "traffic.png")
    assert (tmp_path / "traffic.png").stat().st_size > 10_000


def test_the_shown_figures_keep_what_is_promised() -> None:
    shown = Traffic.model_validate_json(SHOWN.read_text())
    check(shown)
    assert shown.memory_mb <= 200
    page = (SHOWN.parent / "traffic.md").read_text()
    assert markdown_table(TRAFFIC_COLUMNS, map(traffic_cells, shown.rows)).strip() in page
    for figure in (shown.date, f"{shown.decisions_per_s:,.0f}", f"{shown.memory_mb:.0f} MB"):
        assert figure in page


def test_the_largest_gap_is_that_of_any_prefix() -> None:
    assert largest_gap(["a", "b"] * 5, ("a", "b")) == 0.5
    assert largest_gap(["a", "a", "a", "b", "b", "b"], ("a", "b")) == 1.5
