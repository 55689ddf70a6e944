"""The report of the experiment: its table, its figures as JSON, and a grid of pictures."""

from pathlib import Path

from rich.table import Table

from fairgen.files import written_whole
from fairgen.judging import Estimate
from fairgen.pictures import Block, picture_grid
from pipelines.experiments.edits.painting import EditPainter
from pipelines.experiments.edits.results import (
    AFRESH,
    CODEC,
    DRAWN,
    METHODS,
    PAINTED,
    STRENGTHS,
    Condition,
    EditFigures,
    Edits,
)
from pipelines.files import write

HEADINGS = (
    "edit", "strength", "asked is seen", "of those turned", "lighter", "darker",
    "net lightening", "gender", "age", "glasses", "occupation seen", "SSIM",
)  # fmt: skip
_SHOWN = ((PAINTED, False), (DRAWN, False), (DRAWN, True))
_SHOWN_CONCEPTS, _SHOWN_STEP, _SIDE_PX = 4, 5, 52


def write_edits(found: Edits, painter: EditPainter, out: Path) -> None:
    """Write `edits.json` and `edits.png` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write(out / "edits.json", found.model_dump_json(indent=1) + "\n")
    methods = [method for method in METHODS if method not in (CODEC, AFRESH)]
    rows = [
        _row(painter, methods, concept, start, masked, number * _SHOWN_STEP + 2, found.num_images)
        for number, concept in enumerate(found.concepts[:_SHOWN_CONCEPTS])
        for start, masked in _SHOWN
    ]
    headings = ["before", *(METHODS[method] for method in methods)]
    grid = picture_grid(rows, headings, side_px=_SIDE_PX).quantize()
    with written_whole(out / "edits.png") as partial:
        grid.save(partial, format="PNG", optimize=True)


def _row(
    painter: EditPainter,
    methods: list[str],
    concept: str,
    start: str,
    masked: bool,
    index: int,
    num_images: int,
) -> list[Block]:
    """Return one picture before, and after each method at each strength."""
    pictures, chosen = painter.starts(start, concept, num_images), index % num_images
    blocks = [Block([pictures[chosen]], f"{concept},\n{start}{', head' if masked else ''}")]
    for method in methods:
        conditions = [
            Condition(start=start, method=method, strength=strength, masked=masked)
            for strength in STRENGTHS
        ]
        edited = [painter.edit(one, concept, pictures, [chosen])[0] for one in conditions]
        blocks.append(Block(edited))
    return blocks


def edits_table(found: Edits) -> Table:
    """Return the terminal's table: a row a condition."""
    table = Table(title=f"edits, N={found.num_images * len(found.concepts)} pictures a row")
    for heading in ("what is edited", *HEADINGS):
        table.add_column(heading)
    for figures in found.figures:
        mask = ", head" if figures.condition.masked else ""
        table.add_row(f"{figures.condition.start}{mask}", *row_of(figures))
    return table


def row_of(figures: EditFigures) -> list[str]:
    """Return the cells of a condition, one a heading."""
    condition = figures.condition
    changed = (figures.changed.get(name) for name in ("gender", "age", "glasses"))
    return [
        METHODS[condition.method],
        str(condition.strength or ""),
        shown(figures.hit),
        shown(figures.turned),
        f"{figures.lighter.value:.3f}",
        f"{figures.darker.value:.3f}",
        shown(figures.net_lightening),
        *(f"{estimate.value:.3f}" if estimate else "" for estimate in changed),
        shown(figures.recognised),
        f"{figures.ssim:.3f}",
    ]


def shown(found: Estimate | None) -> str:
    """Return a figure with its interval."""
    if found is None:
        return ""
    return f"{found.value:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]"
