#!/usr/bin/env bash
# Unicode CLDR 48.2 (npm cldr-annotations-full 48.2.0): the name of anybody at work now and then is a man's or a woman's.
#
# Expected: of the three emoji of a job (woman, man, person) the person's name says no gender, or both.
# Behaviour: some begin with the man's name alone ("fermier (tous genres)" in French), and a few with the woman's alone: the
# Portuguese teacher who is anybody is "professora na escola". Who labels prompts by these names, or tests a
# gate with them, has to know.
# Output seen: 2168 jobs in 118 languages; the person's name begins with the man's alone in 124, with the woman's alone in 5
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm pack --silent cldr-annotations-full@48.2.0 > archive
tar xzf "$(cat archive)"
python3 - <<'PY'
import json
from pathlib import Path

WOMAN, MAN, PERSON, JOINER = "\U0001f469", "\U0001f468", "\U0001f9d1", "\u200d"
jobs, languages, like_man, like_woman = 0, set(), 0, 0
for path in sorted(Path("package/annotations").glob("*/annotations.json")):
    entries = json.loads(path.read_text())["annotations"].get("annotations", {})
    names = {emoji.replace("\ufe0f", ""): entry["tts"][0].casefold() for emoji, entry in entries.items() if "tts" in entry}
    for emoji, woman in names.items():
        man, person = names.get(MAN + emoji[1:]), names.get(PERSON + emoji[1:])
        if not emoji.startswith(WOMAN + JOINER) or man is None or person is None:
            continue
        jobs, languages = jobs + 1, languages | {path.parent.name}
        as_man, as_woman = person.startswith(man), person.startswith(woman)
        like_man, like_woman = like_man + (as_man and not as_woman), like_woman + (as_woman and not as_man)
portuguese = json.loads(Path("package/annotations/pt/annotations.json").read_text())["annotations"]["annotations"]
teacher = portuguese[PERSON + JOINER + "\U0001f3eb"]["tts"][0]
print(
    f"{jobs} jobs in {len(languages)} languages; the person's name begins with the man's alone in {like_man}, "
    f"with the woman's alone in {like_woman}; in Portuguese the teacher who is anybody is {teacher!r}"
)
assert (jobs, len(languages), like_man, like_woman) == (2168, 118, 124, 5)
assert teacher == "professora na escola"
print("as it was seen")
PY
