"""The pages of the docs: links lead somewhere, and figures are those of the JSON beside them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fairgen.backbones.codec import CODEC_FIELDS
from fairgen.judging import gate_report
from fairgen.judging.gate_suite import SUITES, Count, Rate
from fairgen.solvers import SCHEDULER_FIELDS
from pipelines.benchmarks import ProvenanceFigures, provenance_tables
from pipelines.experiments.ablation.report import mean_drift
from pipelines.experiments.ablation.results import Ablation
from pipelines.experiments.edits.report import HEADINGS, row_of
from pipelines.experiments.edits.results import CODEC, DRAWN, GLASSES, OFF, SKIN_KEPT, Edits
from pipelines.experiments.groups.report import shown
from pipelines.experiments.groups.results import METHODS, Groups
from pipelines.recipe.recipe import load_recipe

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("*.md")), *sorted((ROOT / "cluster").rglob("*.md"))]
TARGETS = ("gender", "skin", "age", "gender x skin", "gender x skin x age")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def read(name: str) -> dict[str, Any]:
    return json.loads((DOCS / name).read_text())


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page may be linked by, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(without_code(page.read_text())):
        if "://" in link:
            assert link.startswith("https://"), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor and page.name != "api.md":  # written by a program, whose anchors are its own
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_the_front_page_is_short_and_the_index_names_every_page() -> None:
    text = README.read_text()
    assert len(text.splitlines()) <= 150 and len(text.split()) <= 1200
    assert "https://arxiv.org/abs/2412.18810" in text and "(LICENSE)" in text
    linked = set(_LINK.findall((DOCS / "README.md").read_text()))
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked
    assert set(_LINK.findall(text)) >= {"docs/README.md", "docs/results.md", "docs/method.md"}


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def interval(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    value = found["value"] if "value" in found else found["fd"]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def evaluation_rows(evaluation: dict[str, Any], corrected: bool) -> list[str]:
    """Return a row a target: base, coin, quota with its bold where it is best, floor."""
    rows = []
    for name in TARGETS:
        systems = evaluation["fairness"][name]
        best = min(systems, key=lambda system: systems[system]["fd"])
        cells = [
            f"**{interval(systems[s])}**" if s == best else interval(systems[s])
            for s in ("base", "iid", "fairgen")
        ]
        more = [interval(systems["fairgen"]["corrected"])] if corrected else []
        rows.append(row(f"{name}, FD", *cells, *more, f"{systems['fairgen']['floor']:.3f}"))
    return rows


@pytest.mark.parametrize(
    ("page", "file", "corrected"),
    [(README, "evaluation.json", False), (DOCS / "results.md", "evaluation.json", True)],
    ids=["README", "results"],
)
def test_the_table_of_fairness_is_that_of_its_run(page: Path, file: str, corrected: bool) -> None:
    text = page.read_text()
    for expected in evaluation_rows(read(file), corrected):
        assert expected in text, expected


def test_the_pages_of_fairness_are_of_one_recipe() -> None:
    names = ("evaluation", "compare", "ablation")
    assert len({read(f"{name}.json")["recipe_hash"] for name in names}) == 1


@pytest.mark.parametrize("run", ["evaluation.json", "compare.json"])
def test_no_interval_of_the_run_has_no_width(run: str) -> None:
    for name, systems in read(run)["fairness"].items():
        for system, found in systems.items():
            assert found["interval"][0] < found["interval"][1], (name, system)


def test_hit_rates_are_those_of_the_run() -> None:
    text = (DOCS / "results.md").read_text()
    hits = read("evaluation.json")["hits"]
    for attribute, categories in hits["all"].items():
        for category in categories:
            groups = [hits[group][attribute][category] for group in ("trained", "held_out", "all")]
            cells = [interval(found["seen"]) for found in groups]
            assert row(f"{attribute} {category}", *cells, interval(groups[-1]["corrected"])) in text


def test_what_was_preserved_is_that_of_the_run() -> None:
    text, found = (DOCS / "results.md").read_text(), read("evaluation.json")
    kept = [found["preservation"][system] for system in ("base", "iid", "fairgen")]
    for label, figure in (("occupation recognised", "recognised"), ("same-seed SSIM", "ssim")):
        assert row(label, *(f"{one[figure]:.3f}" for one in kept), "", "") in text
    drift = [f"{one['drift']['glasses']:.3f}" for one in kept]
    assert row("drift of glasses", *drift, "", f"{found['drift_floor']['glasses']:.3f}") in text


def compared(system: str) -> dict[str, float]:
    """Return what the table of rivals shows of a system."""
    found = read("compare.json")
    kept = found["preservation"][system]
    return {
        **{name: found["fairness"][name][system]["fd"] for name in TARGETS},
        "recognised": kept["recognised"],
        "ssim": kept["ssim"],
        "glasses": kept["drift"]["glasses"],
    }


def test_the_table_of_rivals_is_that_of_its_run_and_its_bold_is_the_best() -> None:
    text = (DOCS / "results.md").read_text()
    systems = read("compare.json")["systems"]
    table = {name: compared(name) for name in systems}
    best = {
        figure: min(f"{found[figure]:.3f}" for name, found in table.items() if name != "base")
        for figure in TARGETS
    }
    for name, found in table.items():
        cells = [
            f"**{value:.3f}**" if best.get(figure) == f"{value:.3f}" else f"{value:.3f}"
            for figure, value in found.items()
        ]
        title = systems[name]["title"]
        expected = row(title, *cells)[:-2]
        assert expected in text, expected


def test_words_beside_adapters_are_those_of_the_run() -> None:
    text = README.read_text()
    found = read("compare.json")
    one, other = compared("words_quota"), compared("fairgen")

    def cells(left: float, right: float, smaller: bool) -> list[str]:
        shown = [f"{left:.3f}", f"{right:.3f}"]
        if shown[0] == shown[1]:
            return [f"**{value}**" for value in shown]
        first = (float(shown[0]) < float(shown[1])) == smaller
        return [
            f"**{value}**" if place == first else value
            for place, value in zip((True, False), shown, strict=True)
        ]

    for label, figure, smaller in (
        ("gender, FD", "gender", True), ("skin, FD", "skin", True),
        ("gender x skin x age, FD", "gender x skin x age", True),
        ("same-seed SSIM", "ssim", False), ("drift of glasses", "glasses", True),
    ):  # fmt: skip
        assert row(label, *cells(one[figure], other[figure], smaller)) in text, label
    for label, condition, figure in (
        ("prompts that name a category: obeyed", "explicit", "obeyed"),
        ("a successful person: occupation recognised", "phrase-0", "recognised"),
        ("prompts without people: still recognised", "no-people", "recognised"),
    ):
        names = [name for name in found["conditions"] if name.startswith(condition)]
        left, right = (
            sum(found["conditions"][name][system][figure] for name in names) / len(names)
            for system in ("words_quota", "fairgen")
        )
        assert row(label, *cells(left, right, False)) in text, label


def test_a_fine_tune_s_table_is_that_of_its_runs() -> None:
    text, fitted = (DOCS / "results.md").read_text(), read("transfer.json")["fairness"]
    as_learnt = read("transfer-as-learnt.json")["fairness"]
    for name in TARGETS:
        base, *others = fitted[name]["base"], as_learnt[name]["fairgen"], fitted[name]["fairgen"]
        start = row(name, interval(base), *map(interval, others))[:-2]
        assert start in text, start


def test_the_table_of_settings_is_that_of_its_run() -> None:
    found = Ablation.model_validate_json((DOCS / "ablation.json").read_text())
    text = (DOCS / "ablation.md").read_text()
    for variant in found.variants:
        figures = variant.hit_rate, variant.ssim, mean_drift(variant)
        fd = interval({"fd": variant.fd, "interval": variant.interval})
        assert row(fd, *(f"{value:.3f}" for value in figures)) in text, variant.group


def test_the_figures_of_the_gate_are_those_that_it_counts() -> None:
    recipe = load_recipe(ROOT / "pipelines" / "recipes" / "portraits.yaml")
    totals = {found.suite: found.total for found in gate_report(recipe.attributes)}
    text = " ".join((DOCS / "method.md").read_text().split())
    mended = [totals[suite] for suite in SUITES if not suite.endswith("held-out")]
    unseen = [totals[suite] for suite in SUITES if suite.endswith("held-out")]
    assert f"On the {sum(count.num_prompts for count in mended):,} that grew along" in text
    activation, skip = (total_rate(mended, kind) for kind in ("false_activation", "false_skip"))
    assert f"acts falsely in {activation.wrong} of {activation.total:,} decisions" in text
    assert f"leaves {skip.wrong} of {skip.total:,} alone for nothing" in text
    nobody, named = totals["no-people"], totals["explicit"]
    assert f"on {nobody.num_prompts} prompts without people and {named.num_prompts} that" in text
    assert nobody.false_activation.wrong == named.false_activation.wrong == 0
    assert f"(0 of {nobody.false_activation.total + named.false_activation.total})" in text
    num_unseen = sum(count.num_prompts for count in unseen)
    assert f"On {num_unseen} prompts that it was never mended with" in text
    for kind, words in (("false_activation", "in"), ("false_skip", "leaves")):
        rate = total_rate(unseen, kind)
        low, high = (f"{100 * bound:.1f}" for bound in rate.interval)
        assert f"{words} {rate.wrong} of {rate.total}" in text and f"({low} to {high} %)" in text


def total_rate(counts: list[Count], kind: str) -> Rate:
    rates = [getattr(count, kind) for count in counts]
    return Rate(wrong=sum(r.wrong for r in rates), total=sum(r.total for r in rates))


def test_the_costs_are_those_of_the_run() -> None:
    text = (DOCS / "costs.md").read_text()
    found = read("bench.json").items()
    figures = {n: value for n, value in found if f"`{n}`" in text and isinstance(value, float)}
    assert len(figures) > 15
    for name, value in figures.items():
        assert f"| `{name}` | {value:.3g} |" in text, name


@pytest.mark.parametrize("race", ["against", "against_without_bf16_units"])
def test_the_race_is_that_of_the_run(race: str) -> None:
    text, against = (DOCS / "costs.md").read_text(), read("bench.json")[race]
    assert f"`{race}`" in text
    assert f"`make bench AGAINST={against['commit'][:7]}`" in text and against["date"] in text
    raced = {name: ratio for name, ratio in against.items() if isinstance(ratio, dict)}
    assert len(raced) >= 4
    for name, ratio in raced.items():
        spread = f"{ratio['lower']:.2f} to {ratio['upper']:.2f}"
        assert f"| `{name}` | {ratio['median']:.2f} | {spread} |" in text, name


def groups_rows(found: Groups) -> list[str]:
    """Return a row a method: who was hit, what was recognised, what leaked."""
    return [
        row(
            METHODS[f.method],
            f.adapters_of if f.hits and f.method != "words" else "",
            shown(f.hits.get("left")),
            shown(f.hits.get("right")),
            shown(f.recognised),
            shown(f.leak),
            shown(f.leak_any),
        )
        for f in found.figures
    ]


def test_the_figures_of_two_people_are_those_of_the_run_and_so_is_the_verdict() -> None:
    text = (DOCS / "groups.md").read_text()
    found = Groups.model_validate(read("groups.json"))
    assert "\n".join(groups_rows(found)) in text
    for name, estimate in found.single.items():
        assert f"{shown(estimate)} ({name})" in text
    for name in ("region", "word"):
        assert f"{found.costs[name]:.2f}" in text
    for concept in ("mechanic", "nurse", "doctor"):
        assert f"{shown(found.women[concept])} of {concept}s" in text
    best = [f for f in found.figures if f.reached]
    assert text.split("\n\n")[1].startswith("**Go" if best else "**No go")


def test_the_figures_of_edits_are_those_of_the_run() -> None:
    text = (DOCS / "edits.md").read_text()
    found = Edits.model_validate(read("edits.json"))
    tables: dict[tuple[str, bool], list[str]] = {}
    for figures in found.figures:
        key = figures.condition.start, figures.condition.masked
        tables.setdefault(key, []).append(row(*row_of(figures)))
    assert len(tables) == 3
    for rows in tables.values():
        assert "\n".join([row(*HEADINGS), "|---" * len(HEADINGS) + "|", *rows]) in text
    assert f"N = {found.num_images * len(found.concepts)} pictures" in text


def test_the_first_words_on_edits_hold_in_the_run() -> None:
    text = (DOCS / "edits.md").read_text().split("![")[0]
    found = Edits.model_validate(read("edits.json"))
    plain = found.of(DRAWN, OFF, 0.8)
    for name in ("lighter", "darker", "net_lightening"):
        assert shown(getattr(plain, name)) in text
    for method in (GLASSES, SKIN_KEPT):
        assert shown(found.of(DRAWN, method, 0.8).net_lightening) in text
    assert shown(found.of(DRAWN, CODEC, 0).net_lightening) in text
    assert plain.net_lightening.interval[0] > 0


def saved_fields_rows() -> list[str]:
    """Return the table of what is followed of a saved pipeline, line by line."""
    rows = [row("part", "followed", "without influence", "allowed only as"), "|---|---|---|---|"]
    for kind, fields in (SCHEDULER_FIELDS | CODEC_FIELDS).items():
        allowed = [
            f"`{name}`: {', '.join(str(value) for value in values)}"
            for name, values in sorted(fields.allowed.items())
        ]
        columns = (
            [f"`{name}`" for name in sorted(names)]
            for names in (fields.followed - fields.allowed.keys(), fields.unused)
        )
        cells = (", ".join(column) or "none" for column in columns)
        rows.append(row(kind.__name__, *cells, "; ".join(allowed) or "anything"))
    return rows


def test_what_is_followed_of_a_saved_pipeline_is_what_the_code_knows() -> None:
    page = (DOCS / "your-model.md").read_text()
    assert "\n".join(saved_fields_rows()) in page


def test_what_signing_and_marking_cost_and_leave_is_that_of_the_run() -> None:
    page = (DOCS / "credentials.md").read_text()
    figures = ProvenanceFigures.model_validate(read("provenance.json"))
    for table in provenance_tables(figures).strip().split("\n\n"):
        assert table in page
    photographs = ProvenanceFigures.model_validate(read("provenance-photographs.json"))
    assert set(photographs.psnr) == {256, 512}
    for one in photographs.detections:
        assert one.found == (0 if one.treatment == "unmarked" else one.total) and one.total == 18
    apart = min(photographs.psnr.values())
    assert f"18 of 18 after each, in none without it, and {apart:.1f} dB apart" in page
