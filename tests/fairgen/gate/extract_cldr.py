"""Write cldr-people.tsv: what Unicode CLDR calls the emoji of one person, in the gate's languages.

    npm pack cldr-annotations-full@48.2.0 cldr-annotations-derived-full@48.2.0
    for archive in *.tgz; do mkdir ${archive%.tgz}; tar xzf $archive -C ${archive%.tgz}; done
    python tests/fairgen/gate/extract_cldr.py FOLDER

The rule: an emoji of a woman is one with the woman in front or the female sign behind, without a
skin tone, of which CLDR has one of a man and one of anybody, too. Those count whom English calls by
what they do or are; a "person walking" is only an act in some languages, and a mage is nobody.
Emoji of anybody are written with the darkest and the lightest skin tone, too.
"""

import json
import sys
from pathlib import Path

LANGUAGES = ("es", "pt", "fr", "de", "it", "zh", "ja")
WOMAN, MAN, ANYBODY = "\U0001f469", "\U0001f468", "\U0001f9d1"
FEMALE, MALE, JOINER = "\u2640", "\u2642", "\u200d"
LIGHT, DARK = "\U0001f3fb", "\U0001f3ff"
NOT_WHAT_THEY_DO = ("person", "people", "deaf", "men", "women")
BEINGS = ("mage", "fairy", "vampire", "merperson", "elf", "genie", "zombie")


def names_of(folder: Path, code: str) -> dict[str, str]:
    """Return emoji -> short name, without variation selectors."""
    found = {}
    for package, root in (("full", "annotations"), ("derived-full", "annotationsDerived")):
        path = folder / f"cldr-annotations-{package}-48.2.0" / "package" / root / code
        data = json.loads((path / "annotations.json").read_text(encoding="utf-8"))
        for emoji, entry in data[root]["annotations"].items():
            if "tts" in entry:
                found[emoji.replace("\ufe0f", "")] = entry["tts"][0]
    return found


def emoji_of_one_person(names: dict[str, str]) -> list[tuple[str, str]]:
    """Return emoji and what is drawn: woman, man, anybody, light or dark."""
    rows: list[tuple[str, str]] = []
    for emoji in sorted(names):
        if emoji.startswith(WOMAN + JOINER):
            behind = emoji.removeprefix(WOMAN)
            man, anybody = MAN + behind, ANYBODY + behind
            toned = [ANYBODY + tone + behind for tone in (LIGHT, DARK)]
        elif emoji.endswith(JOINER + FEMALE):
            anybody = emoji.removesuffix(JOINER + FEMALE)
            man = anybody + JOINER + MALE
            toned = [anybody + tone for tone in (LIGHT, DARK)]
        else:
            continue
        words = names.get(anybody, "person").replace(":", "").split()
        skipped = words[0] in (*NOT_WHAT_THEY_DO, *BEINGS) or "skin" in words
        if man in names and not skipped:
            rows += [("woman", emoji), ("man", man), ("anybody", anybody)]
            rows += [
                (kind, one)
                for kind, one in zip(("light", "dark"), toned, strict=True)
                if one in names
            ]
    return rows


def main(folder: Path) -> None:
    english = names_of(folder, "en")
    lines = ["language\tdrawn\tenglish\tname"]
    for code in LANGUAGES:
        names = names_of(folder, code)
        for drawn, emoji in emoji_of_one_person(english):
            if emoji in names:
                lines.append(f"{code}\t{drawn}\t{english[emoji]}\t{names[emoji]}")
    target = Path(__file__).with_name("cldr-people.tsv")
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
