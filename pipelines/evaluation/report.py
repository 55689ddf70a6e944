"""The report of an evaluation: tables, pictures of the same seeds, bars of asked and delivered
shares.
"""

import io
from collections.abc import Mapping, Sequence
from itertools import accumulate, cycle, islice
from pathlib import Path

from PIL import Image
from rich.table import Table

from fairgen.files import written_whole
from fairgen.judging import Estimate, JudgeConfusion, SuiteCount, proportion_interval
from fairgen.pictures import Block, picture_grid, png
from pipelines.evaluation.evaluation import Evaluation, SystemFairness
from pipelines.files import write, write_bytes

_LABELS = {"base": "indicator off", "fairgen": "indicator on"}
_FEW, _SMALL_PX = 4, 48  # concepts and pictures of the small grid: as wide as a page's text
COLUMNS = 6  # pictures of a concept in the grid, off and on
_SYSTEMS = {"base": "base", "iid": "FairGen iid", "fairgen": "FairGen quota"}


def write_report(
    evaluation: Evaluation, shown: Mapping[str, Mapping[str, Sequence[bytes]]], out: Path
) -> None:
    """Write `evaluation.json`, `grid.png`, a smaller one of some concepts, and `bars.png` into
    `out`; `shown` holds PNGs per concept and system.
    """
    out.mkdir(parents=True, exist_ok=True)
    write(out / "evaluation.json", evaluation.model_dump_json(indent=2) + "\n")
    write_bytes(out / "grid.png", png(draw_grid(shown)))
    some = dict(islice(shown.items(), _FEW))
    write_bytes(out / "grid-small.png", png(draw_grid(some, _SMALL_PX)))
    draw_bars(evaluation, out / "bars.png")


def draw_grid(shown: Mapping[str, Mapping[str, Sequence[bytes]]], side_px: int = 96) -> Image.Image:
    """Return one row a concept: the base model's pictures on the left, FairGen's of the same seeds
    on the right.
    """
    rows = []
    for concept, systems in shown.items():
        blocks = []
        for label, system in zip((concept, ""), _LABELS, strict=True):
            images = [Image.open(io.BytesIO(content)) for content in systems[system]]
            blocks.append(Block(images, label))
        rows.append(blocks)
    return picture_grid(rows, list(_LABELS.values()), side_px)


def draw_bars(evaluation: Evaluation, path: Path) -> None:
    """Plot, per attribute and concept, the delivered share of each category, which has a colour of
    its own; dashed lines are the shares asked for. The title says of how many pictures.
    """
    from matplotlib import color_sequences
    from matplotlib.figure import Figure

    names = [name for name in evaluation.fairness if " x " not in name]
    palette = cycle(color_sequences["petroff10"])
    figure = Figure(figsize=(13, 3.0 * len(names)), layout="constrained")
    figure.suptitle(f"{_sample(evaluation)}; dashed: the shares asked for", fontsize=10)
    for row, name in enumerate(names):
        colours = dict(zip(evaluation.targets[name], palette, strict=False))
        for column, system in enumerate(_LABELS):
            axes = figure.add_subplot(len(names), 2, 2 * row + column + 1)
            prompts = evaluation.fairness[name][system].prompts
            bottoms = [0.0] * len(prompts)
            for category, colour in colours.items():
                heights = [fairness.delivered[category] for fairness in prompts.values()]
                axes.bar(list(prompts), heights, 0.8, bottoms, label=category, color=colour)
                bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
            for edge in list(accumulate(evaluation.targets[name].values()))[:-1]:
                axes.axhline(edge, color="black", linestyle="--", linewidth=0.8)
            found = evaluation.fairness[name][system]
            axes.set_title(f"{name}, {_LABELS[system]}: FD {_of(found)}", fontsize=10)
            axes.tick_params(axis="x", labelrotation=35, labelsize=8)
            axes.set_ylim(0, 1)
            if column:
                axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), reverse=True)
    with written_whole(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def evaluation_table(evaluation: Evaluation) -> Table:
    """Return the terminal's table: FD per target with interval and floor, base against FairGen."""
    table = Table(
        title=f"Fairness, {_sample(evaluation)}, mean of per-prompt FD [95 % interval over prompts "
        "and pictures]"
    )
    known = [system for system in _SYSTEMS if system in evaluation.preservation]
    for heading in ("target", *(_SYSTEMS[s] for s in known), "floor of a fair coin"):
        table.add_column(heading)
    for name, systems in evaluation.fairness.items():
        cells = (_of(systems[system]) for system in known)
        table.add_row(name, *cells, f"{systems['fairgen'].floor:.3f}")
        left_out = [systems[system].abstained for system in known]
        if any(left_out):
            cells = (f"{_written(one.share)} of {one.n}" if one else "-" for one in left_out)
            table.add_row("  judge abstained", *cells, "")
        if systems["fairgen"].corrected:
            cells = (_written(systems[system].corrected) for system in known)
            table.add_row("  judge's errors taken off", *cells, "")
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
    for name in dict.fromkeys(name for own in evaluation.agreement.values() for name in own):
        cells = []
        for agreement in (evaluation.agreement[system].get(name) for system in known):
            if agreement is None:
                cells.append("-")
                continue
            kappa = "" if agreement.kappa is None else f", kappa {agreement.kappa:.2f}"
            low, high = agreement.interval
            cells.append(f"{agreement.share:.3f} [{low:.3f}, {high:.3f}]{kappa}")
        table.add_row(f"same {name}", *cells)
    return table


def hit_rate_table(evaluation: Evaluation) -> Table:
    """Return the table of hit rates per category with Wilson intervals, on trained and on held-out
    concepts.
    """
    table = Table(title="Hit rate: the judge saw the category that was asked [95 %]")
    groups = list(evaluation.hits)
    for heading in (
        "category",
        *groups,
        *(["judge's errors taken off"] if evaluation.judge else []),
    ):
        table.add_column(heading)
    for attribute, categories in evaluation.hits["all"].items():
        for category, hit in categories.items():
            rates = [evaluation.hits[group][attribute].get(category) for group in groups]
            cells = [_written(rate.seen if rate else None) for rate in rates]
            if evaluation.judge:
                cells.append(_written(hit.corrected))
            table.add_row(f"{attribute} {category}", *cells)
    return table


def judge_table(confusion: JudgeConfusion) -> Table:
    """Return the table of a judge's errors: how often it names each category, which instead, and
    of how many pictures it names none. Shares are of the pictures in which it names one.
    """
    table = Table(title=f"The judge on {confusion.source}: named rightly [95 %]")
    abstains = ["abstained"] if confusion.abstained else []
    for heading in ("category", "pictures", "named rightly", "taken for", *abstains):
        table.add_column(heading)
    for attribute, rows in confusion.counts.items():
        for category, row in rows.items():
            right, total = row.get(category, 0), sum(row.values())
            rate = Estimate(value=right / total, interval=proportion_interval(right, total))
            others = (f"{name} {count}" for name, count in row.items() if name != category)
            left_out = confusion.abstained.get(attribute, {}).get(category, 0)
            pictures, taken_for = str(total + left_out), ", ".join(others)
            cells = (f"{attribute} {category}", pictures, _written(rate), taken_for)
            table.add_row(*cells, *(str(left_out) for _ in abstains))
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


def sample_size(num_images: int, num_prompts: int) -> str:
    """Return what a table says of its sample: "N=24 pictures a prompt, 4 prompts"."""
    pictures, prompts = (
        noun if number == 1 else f"{noun}s"
        for number, noun in ((num_images, "picture"), (num_prompts, "prompt"))
    )
    return f"N={num_images} {pictures} a prompt, {num_prompts} {prompts}"


def _sample(evaluation: Evaluation) -> str:
    prompts = next(iter(evaluation.fairness.values()))["base"].prompts
    return sample_size(evaluation.num_images, len(prompts))


def _of(fairness: SystemFairness) -> str:
    return _written(Estimate(value=fairness.fd, interval=fairness.interval))


def _written(estimate: Estimate | None) -> str:
    """Return a figure with its interval, "-" where there is none."""
    if estimate is None:
        return "-"
    low, high = estimate.interval
    return f"{estimate.value:.3f} [{low:.3f}, {high:.3f}]"
