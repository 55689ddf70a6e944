"""The page of a comparison and the plots of an ablation, from the figures that docs/ holds."""

from itertools import combinations
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from PIL import Image
from rich.console import Console

from pipelines.experiments.ablation.report import ablation_figure, ablation_tables
from pipelines.experiments.ablation.results import Ablation
from pipelines.experiments.comparison.comparison import Comparison
from pipelines.experiments.comparison.conditions import PLAIN, eval_conditions
from pipelines.experiments.comparison.files import save_pictures, score_path
from pipelines.experiments.comparison.plots import scatter_figure
from pipelines.experiments.comparison.report import write_comparison
from pipelines.experiments.comparison.systems import COMPARED_SYSTEMS
from pipelines.recipe.recipe import load_recipe
from tests.pipelines.conftest import SHIPPED

FIGURES = Path(__file__).parents[3] / "docs" / "compare.json"


@pytest.fixture
def comparison() -> Comparison:
    return Comparison.model_validate_json(FIGURES.read_text())


def write_page(comparison: Comparison, folder: Path) -> str:
    concepts = [*comparison.held_out, *comparison.trained]
    for compared in COMPARED_SYSTEMS:
        for concept in concepts:
            path = score_path(folder / "run", PLAIN, compared.name, concept)
            save_pictures(path, [Image.new("RGB", (8, 8), "red")] * 3)
    conditions = eval_conditions(load_recipe(SHIPPED / "portraits.yaml"))
    write_comparison(comparison, conditions, folder / "run", folder / "report")
    return (folder / "report" / "compare.html").read_text()


def test_the_page_shows_every_system_with_figures_and_pictures(
    comparison: Comparison, tmp_path: Path
) -> None:
    page = write_page(comparison, tmp_path)
    assert all(system.title in page for system in comparison.systems.values())
    assert page.count('class="strip"') == 4 * len(COMPARED_SYSTEMS)
    assert page.count('class="own"') == 1
    fd = comparison.fairness["gender"]["fairgen"].fd
    assert f"<td>{fd:.3f}<br><small>" in page
    assert "doctor, nurse, firefighter, teacher, one thing changed" in " ".join(page.split())
    assert "http" not in page  # it needs no network
    assert "{{" not in page and "{%" not in page


def test_words_of_a_recipe_cannot_become_markup(comparison: Comparison, tmp_path: Path) -> None:
    page = write_page(comparison.model_copy(update={"recipe": "<b>tiny</b>"}), tmp_path)
    assert "&lt;b&gt;tiny&lt;/b&gt;" in page and "<b>tiny" not in page


def lie_apart(axes: Axes, num_labels: int) -> bool:
    labels = [text for text in axes.texts if text.get_text()]
    assert len(labels) == num_labels
    places = [label.get_window_extent() for label in labels]
    return not any(one.overlaps(other) for one, other in combinations(places, 2))


def test_labels_of_an_ablation_do_not_lie_on_each_other() -> None:
    ablation = Ablation.model_validate_json(FIGURES.with_name("ablation.json").read_text())
    figure = ablation_figure(ablation)
    assert all(lie_apart(axes, len(ablation.variants) - 1) for axes in figure.axes[:2])


def test_an_ablation_whose_judge_names_only_what_was_asked_has_no_plot_of_drift() -> None:
    ablation = Ablation.model_validate_json(FIGURES.with_name("ablation.json").read_text())
    alone = [variant.model_copy(update={"drift": {}}) for variant in ablation.variants]
    found = ablation.model_copy(update={"variants": alone})
    assert len(ablation_figure(found).axes) == len(ablation_figure(ablation).axes) - 1
    console = Console(record=True, width=80)
    console.print(*ablation_tables(found))
    text = console.export_text()
    for variant in found.variants:  # on a narrow terminal, too
        assert f"{variant.group} {variant.value}".rstrip() in text
        assert f"[{variant.interval[0]:.3f}," in text and f"{variant.interval[1]:.3f}]" in text


def test_labels_of_a_comparison_do_not_lie_on_each_other(comparison: Comparison) -> None:
    (axes,) = scatter_figure(comparison).axes
    assert lie_apart(axes, len(comparison.systems))
