"""`fairgen generate`: pictures in the prescribed distribution into a folder, without a server."""

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fairgen.pictures import Block, picture_grid
from fairgen.provenance import CredentialFiles, Credentials, encode
from pipelines.files import check_out, write, write_bytes
from pipelines.recipe import Recipe
from pipelines.registry import tracking_server
from pipelines.serve import (
    Assignment,
    GeneratorService,
    ImageRequest,
    IndicatorService,
    PlannedImage,
    Provenance,
    RequestError,
    ServeSettings,
    asked_of,
    plan_images,
)

_COLUMNS, _SIDE_PX, _MOST_SHOWN = 4, 256, 64


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
    """Paint with the champions of the registry under `home` into a folder that is new or empty:
    each picture once it is finished, then the records, and a grid of the first 64. Who ends it
    before the last picture has all that with those that were finished.

    With `calibrate`, what the measured adapters miss is made up for; with `credentials` the files
    are signed, with `mark` they bear an invisible mark. Raises ValueError for a target that the
    champions cannot meet, for credentials that cannot sign, and for pictures too small for a mark,
    RuntimeError where champions cannot be had.
    """
    check_out(out, empty="since pictures of before would stand beside the new ones")
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
        out.mkdir(parents=True, exist_ok=True)
        painted: dict[Path, Provenance] = {}
        try:
            asyncio.run(_paint(service, recipe, plan, out, painted, console))
        finally:
            records = _finish(out, painted, service.credentials)
            if len(records) < len(plan):
                console.print(f"{len(records)} of {len(plan)} pictures were finished: {out}")
    except RequestError as error:
        raise RuntimeError(error.message) from error
    finally:
        service.close()
    return Generated(records, _not_applied(recipe, request, assignment, served))


def _finish(
    out: Path, painted: Mapping[Path, Provenance], credentials: Credentials | None
) -> list[Provenance]:
    """Write records and grid of what was painted, if anything; return the records, by picture."""
    files = sorted(painted, key=lambda file: int(file.stem))
    records = [painted[file] for file in files]
    if files:
        table = [record.model_dump(mode="json") for record in records]
        write(out / "records.json", json.dumps(table, indent=2) + "\n")
        shown = [(file, painted[file]) for file in files[:_MOST_SHOWN]]
        write_bytes(out / "grid.png", encode(_grid(shown), "png", credentials=credentials))
    return records


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
    service: GeneratorService,
    recipe: Recipe,
    plan: Sequence[PlannedImage],
    out: Path,
    painted: dict[Path, Provenance],
    console: Console,
) -> None:
    """Write every picture as it comes, and put its file and record into `painted`."""
    digits = max(3, len(str(len(plan) - 1)))
    columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("pictures", total=len(plan))
        async with aclosing(service.paint(plan, recipe.registry.prefix)) as updates:
            async for update in updates:
                if update.error is not None:
                    raise RuntimeError(f"picture {update.index}: {update.error}")
                if update.provenance is None:
                    continue
                file = out / f"{update.index:0{digits}d}.png"
                write_bytes(file, update.content)
                painted[file] = update.provenance
                progress.update(task, completed=len(painted))


def _grid(files: Iterable[tuple[Path, Provenance]]) -> Image.Image:
    """Return the pictures, four a row, with what was asked of each below it."""
    images, captions = [], []
    for file, record in files:
        images.append(Image.open(file))
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
