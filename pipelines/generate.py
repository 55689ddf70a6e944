"""`fairgen generate`: pictures in the prescribed distribution into a folder, without a server."""

import asyncio
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fairgen.pictures import Block, picture_grid
from fairgen.provenance import CredentialFiles, encode
from pipelines.files import check_out
from pipelines.recipe import Recipe
from pipelines.registry import tracking_server
from pipelines.serve import (
    Assignment,
    GeneratorService,
    ImageRequest,
    IndicatorService,
    Provenance,
    ServeSettings,
    asked_of,
    plan_images,
)

_COLUMNS, _SIDE_PX = 4, 256


@dataclass(frozen=True)
class Generated:
    """What was painted, and by attribute why the target was not applied to it: empty if it was."""

    records: list[Provenance]
    not_applied: dict[str, str]


def generate(
    recipe: Recipe,
    request: ImageRequest,
    home: Path,
    out: Path,
    console: Console,
    calibrate: bool = False,
    credentials: CredentialFiles | None = None,
    mark: bool = False,
) -> Generated:
    """Paint with the champions of the registry under `home` and write files, records and a grid.

    With `calibrate`, what the measured adapters miss is made up for; with `credentials` the files
    are signed, with `mark` they bear an invisible mark. Raises ValueError for a target that the
    champions cannot meet, for credentials that cannot sign, and for pictures too small for a mark.
    """
    check_out(out)
    with tracking_server(home) as tracking_uri:
        settings = ServeSettings(
            tracking_uri=tracking_uri,
            poll_s=None,
            calibrate=calibrate,
            credentials=credentials,
            mark=mark,
        )
        service = GeneratorService(settings, recipe)
    try:
        served = {info.name: info.confusion for info in service.attributes()}
        indicator = IndicatorService(settings, recipe)
        assignment = asyncio.run(
            indicator.assign(asked_of(request, "", service.prompt_cut_at(request.prompt)), served)
        )
        plan = plan_images(request, assignment, recipe.generation)
        files = asyncio.run(_paint(service, recipe, plan, console))
    finally:
        service.close()
    out.mkdir(parents=True, exist_ok=True)
    suffix = request.output_format
    for index, (content, _) in files.items():
        (out / f"{index:03d}.{suffix}").write_bytes(content)
    painted = [files[index] for index in sorted(files)]
    records = [record for _, record in painted]
    (out / "records.json").write_text(
        json.dumps([record.model_dump(mode="json") for record in records], indent=2) + "\n"
    )
    grid = encode(_grid(painted), "png", credentials=service.credentials)
    (out / "grid.png").write_bytes(grid)
    return Generated(records, _not_applied(recipe, request, assignment, served))


def _not_applied(
    recipe: Recipe, request: ImageRequest, assignment: Assignment, served: Collection[str]
) -> dict[str, str]:
    """Return, by attribute that was asked, why nothing was balanced."""
    if request.fairness == "off":
        return {}
    asked = request.fairness or {attribute.name: "uniform" for attribute in recipe.attributes}
    found = {}
    for name in asked:
        if name not in served:
            found[name] = (
                "the registry holds no champions of it (fairgen adapters shows what it has)"
            )
        elif assignment.gate is not None and name not in assignment.gate.free:
            found[name] = assignment.gate.why(name)
    return found


async def _paint(
    service: GeneratorService, recipe: Recipe, plan: list, console: Console
) -> dict[int, tuple[bytes, Provenance]]:
    files: dict[int, tuple[bytes, Provenance]] = {}
    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("pictures", total=len(plan))
        async for delivery in service.paint(plan, recipe.registry.prefix):
            if delivery.error is not None:
                raise RuntimeError(f"picture {delivery.index}: {delivery.error}")
            if delivery.provenance is None:
                continue
            files[delivery.index] = delivery.content, delivery.provenance
            progress.update(task, completed=len(files))
    return files


def _grid(files: Iterable[tuple[bytes, Provenance]]) -> Image.Image:
    """Return the pictures, four a row, with what was asked of each below it."""
    images, captions = [], []
    for content, record in files:
        images.append(Image.open(io.BytesIO(content)))
        captions.append("\n".join(record.categories.values()))
    rows = range(0, len(images), _COLUMNS)
    return picture_grid(
        [[Block(images[at : at + _COLUMNS], "", captions[at : at + _COLUMNS])] for at in rows],
        side_px=_SIDE_PX,
    )


def tally(records: list[Provenance]) -> dict[str, Counter[str]]:
    """Return how many pictures were asked for each category, by attribute."""
    found: dict[str, Counter[str]] = {}
    for record in records:
        for attribute, category in record.categories.items():
            found.setdefault(attribute, Counter())[category] += 1
    return found
