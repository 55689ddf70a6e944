"""The report of the experiment: its table, its figures as JSON, and a grid of pictures."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from fairgen.files import written_whole
from fairgen.judging import Estimate
from fairgen.pictures import Block, picture_grid
from pipelines.experiments.groups.painting import PairPainter
from pipelines.experiments.groups.results import METHODS, Groups
from pipelines.files import write

_SHOWN_SEEDS = (1000, 1001)
_SHOWN_PROMPTS = 4
_SIDE_PX = 144


def write_groups(
    found: Groups, painter: PairPainter, prompts: Sequence[tuple[str, str]], out: Path
) -> None:
    """Write `groups.json` and `groups.png` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write(out / "groups.json", found.model_dump_json(indent=1) + "\n")
    names = painter.attribute.names
    columns = [("base", ("", "")), *(("region_strong", (a, b)) for a in names for b in names)]
    rows = [
        [
            Block(
                [image for image, _ in painter.paint(method, concepts, [asked], _SHOWN_SEEDS)],
                " &\n".join(concepts) if method == "base" else "",
            )
            for method, asked in columns
        ]
        for concepts in prompts[:_SHOWN_PROMPTS]
    ]
    headings = [" / ".join(asked) if all(asked) else method for method, asked in columns]
    with written_whole(out / "groups.png") as partial:
        picture_grid(rows, headings, side_px=_SIDE_PX).save(partial, format="PNG", optimize=True)


def groups_table(found: Groups) -> Table:
    """Return the terminal's table: a row a condition."""
    table = Table(title=f"two people in one picture, N={found.num_images} a prompt and choice")
    for heading in (
        "method", "attribute", "adapters of", "hit left", "hit right", "recognised", "leak",
        "any leak", "leak, ungated", "pictures",
    ):  # fmt: skip
        table.add_column(heading)
    for f in found.figures:
        table.add_row(
            METHODS[f.method],
            f.attribute,
            f.adapters_of,
            shown(f.hits.get("left")),
            shown(f.hits.get("right")),
            shown(f.recognised),
            shown(f.leak),
            shown(f.leak_any),
            shown(f.leak_ungated),
            str(f.num_pictures),
        )
    return table


def shown(found: Estimate | None) -> str:
    """Return a figure with its interval."""
    if found is None:
        return ""
    return f"{found.value:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]"
