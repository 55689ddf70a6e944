"""What the verbs of the `fairgen` command share: folders, options, the recipe, refusals."""

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines.files import check_out

if TYPE_CHECKING:
    from fairgen.provenance import CredentialFiles
    from pipelines.recipe import Recipe
    from pipelines.serve import Fairness, ServeSettings

_SHARED = os.environ.get("FAIRGEN_HOME")  # on a cluster: a folder that all nodes see
HOME = Path(_SHARED or ".fairgen")
REPORT = HOME / "report" if _SHARED else Path("report")
RECIPE = "The recipe that drives every stage: its file, or the name of one that ships."
RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help=RECIPE)]
Base = Annotated[
    str | None, typer.Option(help="A folder or hub id in place of the recipe's base model.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        envvar="FAIRGEN_CLUSTER",
        help="Run on a Ray cluster: its dashboard, such as http://head:8265.",
    ),
]
CredentialsChain = Annotated[
    Path | None,
    typer.Option("--credentials", help="Sign pictures: the certificate chain, the signer's first."),
]
CredentialsKey = Annotated[
    Path | None, typer.Option("--credentials-key", help="Sign pictures: the private key.")
]
Mark = Annotated[
    bool,
    typer.Option("--mark", help="Put an invisible mark into pictures of 256 pixels and more."),
]
CALIBRATE = "Ask the adapters so that, with their measured misses, the target is what is seen."


class OneSentence(TyperGroup):
    """A command that tells what went wrong in a sentence, in red, and no traceback: that is for
    FAIRGEN_DEBUG=1, and for mistakes of its own.
    """

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            status = _status(error)
            if status is None or os.environ.get("FAIRGEN_DEBUG"):
                raise
            typer.secho(_sentence(error), fg="red", err=True)
            raise typer.Exit(status) from error


def _status(error: Exception) -> int | None:
    """Return 2 for what a user has asked wrongly, 1 for what failed, None for what is our fault."""
    if isinstance(error, ValueError | OSError):
        return 2
    return 1 if isinstance(error, RuntimeError) or _library(error) in ("ray", "mlflow") else None


def _library(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def _sentence(error: Exception) -> str:
    if _library(error) == "pydantic_core":
        found = error.errors()[0]  # type: ignore[attr-defined]
        field = ".".join(str(part) for part in found["loc"])
        message = found["msg"].removeprefix("Value error, ")
        return f"{field}: got {str(found['input'])[:80]!r}: {message}" if field else message
    if _library(error) != "ray":
        return str(error)
    from pipelines.ray_runtime import reason_of

    return reason_of(error)


def load(path: Path, base: str | None = None) -> "Recipe":
    """Return the recipe. Raises ValueError with the reason why it cannot be used."""
    from pipelines.recipe import load_recipe

    return load_recipe(path, base)


def load_here(path: Path, base: str | None = None) -> "Recipe":
    """Return the recipe of a command that loads its models here. Raises ValueError where one of
    them is missing, before anything heavy is imported.
    """
    from pipelines.recipe import check_models

    recipe = load(path, base)
    check_models(recipe)
    return recipe


def report_folder() -> Path:
    """Return the folder of reports. Raises ValueError where it cannot be written, before what they
    tell takes its time.
    """
    check_out(REPORT, field="report")
    return REPORT


def settings_of(recipe: Path, base: str | None, **changes: Any) -> "ServeSettings":
    """Return the endpoint's settings for a recipe, found from whatever folder a replica runs in."""
    from pipelines.serve import ServeSettings

    path = recipe.resolve() if recipe.is_file() else recipe
    folder = str(Path(base).resolve()) if base and Path(base).is_dir() else base
    return ServeSettings(recipe=path, base=folder, **changes)


def credential_files(chain: Path | None, key: Path | None) -> "CredentialFiles | None":
    """Return the files that pictures are signed with, None for neither. Raises ValueError for one
    of both.
    """
    from fairgen.provenance import CredentialFiles

    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise ValueError("credentials: got one of chain and key, allowed are both")
    return CredentialFiles(chain=chain.resolve(), key=key.resolve())


def check_seeds(seed: int | None, num_images: int) -> None:
    """Raise ValueError where a picture's seed could not be asked for again."""
    from pipelines.serve import MAX_SEED

    if seed is not None and seed + num_images - 1 > MAX_SEED:
        raise ValueError(
            f"seed: got {seed} of the first of {num_images} pictures, allowed are at most "
            f"{MAX_SEED} of the last"
        )


def check_home() -> None:
    """Raise ValueError where the folder of runs, versions and checkpoints is no folder."""
    if HOME.exists() and not HOME.is_dir():
        raise ValueError(f"FAIRGEN_HOME: got {str(HOME)!r}, which is a file; allowed is a folder")


def counted(number: int, noun: str) -> str:
    """Return "1 picture", "2 pictures"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def unused(name: str) -> Path:
    """Return the first of the folders NAME, NAME-2, NAME-3 and so on that nothing lies in."""
    names = (Path(name if count == 1 else f"{name}-{count}") for count in itertools.count(1))
    return next(path for path in names if not path.exists())


def parse_fairness(given: list[str]) -> "Fairness | None":
    """Return the fairness that "gender=uniform", "skin=light:0.25,dark:0.75" or "off" mean.

    Raises ValueError for another form.
    """
    if not given:
        return None
    if given == ["off"]:
        return "off"
    if "off" in given:
        raise ValueError(f"fairness: got 'off' beside {len(given) - 1} more, allowed is it alone")
    fairness: dict[str, object] = {}
    for item in given:
        attribute, equals, value = item.partition("=")
        if attribute in fairness:
            raise ValueError(f"fairness: got {attribute!r} twice, allowed is it once, with all of "
                             "its categories")  # fmt: skip
        if not equals or not attribute or not value:
            raise ValueError(
                f"fairness: got {item!r}, allowed are 'off', ATTRIBUTE=uniform and "
                "ATTRIBUTE=CATEGORY:SHARE,..."
            )
        fairness[attribute] = value if value == "uniform" else _table(item, value)
    return fairness


def _table(item: str, value: str) -> dict[str, float]:
    shares = {}
    for part in value.split(","):
        category, colon, share = part.partition(":")
        if category in shares:
            raise ValueError(f"fairness: got {category!r} twice in {item!r}, allowed is it once")
        try:
            shares[category] = float(share)
        except ValueError:
            colon = ""
        if not colon:
            raise ValueError(f"fairness: got {part!r} in {item!r}, allowed is CATEGORY:SHARE")
    return shares
