"""What pictures of two people come to: hits, recognised occupations, leaks, with 95 % intervals."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import combinations

from fairgen.judging import Estimate, proportion_interval
from pipelines.experiments.groups.results import Condition, Figures, PairImage, Person

_LOOKS = ("gender", "skin")


def figures(condition: Condition, base: Condition) -> Figures:
    """Return the figures of a condition; `base` has pictures of the same prompts and seeds."""
    pictures, attribute = condition.pictures, condition.attribute
    people = [person for picture in pictures for person in picture.people]
    asked_both = [p for p in pictures if all(person.asked for person in p.people)]
    sides: dict[str, list[Person]] = {
        "both": [person for picture in asked_both for person in picture.people],
        "left": [picture.people[0] for picture in asked_both],
        "right": [picture.people[1] for picture in asked_both],
    }
    for category in sorted({person.asked for person in sides["both"]}):
        sides[category] = [person for person in sides["both"] if person.asked == category]
    shares = Counter(person.seen[attribute] for person in sides["both"] or people)
    changes = list(_neighbours_changed(pictures)) if condition.method != "whole" else []
    ungated = list(_without_gates(pictures, base.pictures)) if changes else []
    return Figures(
        method=condition.method,
        attribute=attribute,
        adapters_of=condition.adapters_of,
        num_pictures=len(pictures),
        hits={
            name: found
            for name, group in sides.items()
            if (found := rate(p.seen[attribute] == p.asked for p in group))
        },
        combinations=_combinations(pictures, attribute),
        recognised=_known(rate(p.seen["concept"] == p.concept for p in people)),
        leak=rate(one.seen[attribute] != other.seen[attribute] for one, other in changes),
        leak_any=rate(one.seen != other.seen for one, other in changes),
        leak_ungated=rate(
            any(one.seen[look] != other.seen[look] for look in _LOOKS) for one, other in ungated
        ),
        distribution={name: count / shares.total() for name, count in sorted(shares.items())},
    )


def rate(outcomes: Iterable[bool]) -> Estimate | None:
    """Return the share of true outcomes with its Wilson interval; None where there are none."""
    values = list(outcomes)
    if not values:
        return None
    value = sum(values) / len(values)
    return Estimate(value=value, interval=proportion_interval(sum(values), len(values)))


def women(pictures: list[PairImage]) -> dict[str, Estimate]:
    """Return the share of women among the people of each occupation."""
    people = [person for picture in pictures for person in picture.people]
    return {
        concept: _known(rate(p.seen["gender"] == "woman" for p in people if p.concept == concept))
        for concept in sorted({person.concept for person in people})
    }


def _combinations(
    pictures: list[PairImage], attribute: str
) -> dict[str, tuple[Estimate, Estimate]]:
    """Return the hit rates of left and right, where both were asked for a category."""
    found = {}
    pairs = {tuple(person.asked for person in picture.people) for picture in pictures}
    for pair in sorted(pair for pair in pairs if all(pair)):
        chosen = [p.people for p in pictures if tuple(q.asked for q in p.people) == pair]
        left, right = (
            _known(rate(people[side].seen[attribute] == pair[side] for people in chosen))
            for side in (0, 1)
        )
        found[" / ".join(pair)] = (left, right)
    return found


def _neighbours_changed(pictures: list[PairImage]) -> Iterator[tuple[Person, Person]]:
    """Yield one person in two pictures of a prompt and seed, asked for the same in both, whose
    neighbour was asked for two different categories.
    """
    groups: dict[object, list[tuple[Person, str]]] = {}
    for picture in pictures:
        concepts = tuple(person.concept for person in picture.people)
        for side, person in enumerate(picture.people):
            if (neighbour := picture.people[1 - side].asked) and person.asked:
                key = (concepts, picture.seed, side, person.asked)
                groups.setdefault(key, []).append((person, neighbour))
    for members in groups.values():
        for (one, beside), (other, beside_other) in combinations(members, 2):
            if beside != beside_other:
                yield one, other


def _without_gates(
    pictures: list[PairImage], base: list[PairImage]
) -> Iterator[tuple[Person, Person]]:
    """Yield each person without gates whose neighbour has some, and the base's of the same seed."""
    bare = {(_concepts(picture), picture.seed): picture for picture in base}
    for picture in pictures:
        for side, person in enumerate(picture.people):
            if not person.asked and picture.people[1 - side].asked:
                yield person, bare[_concepts(picture), picture.seed].people[side]


def _concepts(picture: PairImage) -> tuple[str, ...]:
    return tuple(person.concept for person in picture.people)


def _known(found: Estimate | None) -> Estimate:
    assert found is not None  # a condition has pictures
    return found
