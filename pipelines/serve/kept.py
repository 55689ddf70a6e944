"""The sets that were served last, kept on disk: a replica that starts while the registry is away
begins with them.
"""

import shutil
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fairgen.adapters import Adapter, save_adapter
from pipelines.recipe import Recipe
from pipelines.registry import Champion, ChampionSet
from pipelines.steps import write

_SETS = TypeAdapter(ChampionSet)


class KeptSets:
    """One folder a registry's prefix; a set of an attribute replaces the one before."""

    def __init__(self, home: Path, recipe: Recipe) -> None:
        self._folder = home / "served" / recipe.registry.prefix
        self._attributes = [attribute.name for attribute in recipe.attributes]

    def keep(self, attribute: str, champions: ChampionSet, adapters: dict[str, Adapter]) -> None:
        """Write a set down, its weights before its name. Raises OSError where nothing can be
        written.
        """
        _, before = self.recall().get(attribute, (None, {}))
        for category, champion in champions.members.items():
            save_adapter(adapters[category], self._weights_of(champion))
        write(self._folder / f"{attribute}.json", _SETS.dump_json(champions).decode())
        for folder in set(before.values()) - set(map(self._weights_of, champions.members.values())):
            shutil.rmtree(folder, ignore_errors=True)

    def recall(self) -> dict[str, tuple[ChampionSet, dict[str, Path]]]:
        """Return attribute -> its set, and category -> the folder of its weights; what cannot be
        read is left out.
        """
        found = {}
        for attribute in self._attributes:
            try:
                champions = _SETS.validate_json((self._folder / f"{attribute}.json").read_bytes())
            except (OSError, ValidationError):
                continue
            folders = {c: self._weights_of(member) for c, member in champions.members.items()}
            found[attribute] = champions, folders
        return found

    def _weights_of(self, champion: Champion) -> Path:
        return self._folder / "adapters" / champion.sha256
