"""The prompt gate's words of grammar, adjectives that need a person, and what every word is."""

from functools import cache

from fairgen.gate import individuals, people, things
from fairgen.gate.phrases import Table, forms, word_list

# Their form in -s is a verb after a noun: "a dragon guards the gate", "a woman waves".
VERBS = word_list(
    """
    author, award, bag, bed, belt, bench, bike, block, boat, book, boss, bottle, bow, box, bridge,
    brush, butcher, button, camp, cap, captain, cart, chair, champion, cloud, coach, coat, comb,
    cook, cross, crown, dish, dock, dress, drink, drum, engineer, fan, farm, father, field, fish,
    flag, fork, frame, garden, glove, guard, guide, gun, hammer, hook, host, house, jet, judge,
    juice, kayak, key, land, leaf, letter, lock, log, mail, map, market, mask, mill, mirror, model,
    mother, mount, nail, net, nurse, oil, paddle, pan, paper, park, partner, path, phone, pilot,
    pin, plant, plate, pocket, pool, port, pot, print, prop, pump, ranch, record, referee, ring,
    rock, rope, row, ruin, sack, saddle, sail, sand, screen, seat, seed, shelf, shell, shepherd,
    shield, ship, shop, sign, sink, smoke, stage, stamp, stand, stick, stone, store, storm, strike,
    style, suit, table, tailor, tank, tattoo, tie, tile, torch, tower, track, trail, train, trap,
    truck, trunk, usher, wall, ward, watch, water, wave, weapon, wheel, whip, whistle, wing, wire
    """
)
# Adjectives of many things: they name a person's attribute only where they describe the person.
AGES = word_list(
    """
    aged, ageing, aging, ancient, elder, junior, mature, old, older, oldest, senior, vintage, young,
    younger, youngest
    """
)
ORIGINS = word_list(
    """
    aboriginal, afghan, african, albanian, algerian, american, angolan, arab, arabian, argentinian,
    armenian, asian, australian, austrian, bangladeshi, bedouin, belgian, berber, bolivian, bosnian,
    brazilian, british, bulgarian, burmese, cambodian, cameroonian, canadian, caribbean, chilean,
    chinese, colombian, congolese, croatian, cuban, czech, danish, dominican, dutch, ecuadorian,
    egyptian, emirati, english, estonian, ethiopian, european, fijian, filipino, finnish, french,
    gambian, german, ghanaian, greek, guatemalan, haitian, hawaiian, hispanic, honduran, hungarian,
    icelandic, indian, indigenous, indonesian, inuit, iranian, iraqi, irish, israeli, italian,
    ivorian, jamaican, japanese, jewish, jordanian, kazakh, kenyan, korean, kurdish, laotian, latin,
    latina, latino, latvian, lebanese, libyan, lithuanian, malaysian, malian, maori, mauritanian,
    mediterranean, mestizo, mexican, middle eastern, mongolian, moroccan, native american, nepalese,
    nepali, nigerian, nordic, norwegian, omani, pakistani, palestinian, panamanian, paraguayan,
    persian, peruvian, polish, polynesian, portuguese, puerto rican, romani, romanian, russian,
    rwandan, salvadoran, samoan, saudi, scandinavian, scottish, senegalese, serbian, sicilian,
    singaporean, slavic, slovak, somali, spanish, sri lankan, sudanese, swedish, swiss, syrian,
    taiwanese, tanzanian, thai, tibetan, tongan, tunisian, turkish, ugandan, ukrainian, uruguayan,
    uzbek, venezuelan, vietnamese, welsh, yemeni, zambian, zimbabwean, zulu
    """
)
COLOURS = word_list("black, brown, ebony, gray, grey, olive, red, tan, tanned, white, yellow")
# Colours that are a picture's mood where they stand alone: "doctor, dark, moody".
TONES = word_list("bright, bronze, dark, fair, golden, light, pale, warm")
# Words of grammar. FUNCTION words end the phrase of a noun.
DETERMINERS = word_list(
    """
    1, 2, 3, 4, 5, 6, a, all, an, another, any, each, every, her, his, its, my, one, our, some,
    that, the, their, these, this, those, your
    """
)
NEGATIONS = word_list("except, excluding, minus, neither, never, no, non, nor, not, without")
COPULAS = word_list(
    """
    appears, are, be, became, becomes, been, being, is, look, looks, seems, was, were
    """
)
LIKENESSES = word_list("as, impersonating, like, resembling")
ADVERBS = word_list("extremely, fairly, quite, rather, really, slightly, so, still, too, very")
PREPOSITIONS = word_list(
    """
    above, across, after, against, along, amid, among, around, at, before, behind, below, beneath,
    beside, between, by, during, for, from, in, inside, into, near, of, on, onto, outside, over,
    through, to, toward, towards, under, upon, with, within
    """
)
CONNECTIVES = word_list(
    """
    alone, and, as, but, clad, did, does, enough, had, has, have, he, him, if, it, like, next, or,
    she, than, that, them, they, when, where, which, while, who, whose
    """
)
FUNCTION = frozenset(
    (*DETERMINERS, *NEGATIONS, *COPULAS, *ADVERBS, *PREPOSITIONS, *CONNECTIVES, *LIKENESSES)
)
ADJECTIVES = frozenset(
    (*AGES, *(origin.rsplit(maxsplit=1)[-1] for origin in ORIGINS), *COLOURS, *TONES)
)
# Last parts of words for a person. The longest tells what the word names: a policewoman is a woman,
# no man, and a shaman is a shaman.
ENDINGS = word_list(
    """
    brother, daughter, father, freshman, hero, heroine, human, lady, lord, maid, man, mason,
    midwife, mother, person, shaman, sister, son, wife, woman
    """
)


@cache
def kinds() -> Table[str]:
    """Return the kind of every phrase and of its plurals; where two lists have it, the later's."""
    table: Table[str] = Table()
    for phrases, kind, plural in (
        (things.BODY, "body", "body"),
        (things.THINGS, "thing", "thing"),
        (things.ANIMALS, "animal", "animal"),
        (things.FIGURINES, "figurine", "figurine"),
        (
            (*people.NEUTRAL, *people.GENERIC, *people.ROLES, *people.OCCUPATIONS, *people.TITLES),
            "person",
            "people",
        ),
        (people.NOUNS_TOO, "noun too", "people"),
        (people.COLLECTIVES, "group", "group"),
        (people.PRONOUNS, "pronoun", "pronoun"),
        (people.PORTRAITS, "portrait", "portrait"),
        (individuals.NAMES, "name", "other"),
        (individuals.FIGURES, "figure", "people"),
        (things.OTHER_USES, "other", "other"),
    ):
        for phrase in phrases:
            one, *many = forms(phrase)
            if kind != "thing" or phrase not in VERBS:
                table.update((form, plural) for form in many if form not in table)
            table[one] = kind
    return table


@cache
def same() -> dict[str, tuple[str, ...]]:
    """Return the words that say what another does: "policewoman" and "countess" of "woman"."""
    table = {ending: list(people.SAME.get(ending, ())) for ending in (*ENDINGS, *people.SAME)}
    for word in (*people.ROLES, *people.OCCUPATIONS, *people.TITLES):
        endings = [ending for ending in ENDINGS if word.endswith(ending)]
        if endings and max(endings, key=len) != word:
            table[max(endings, key=len)].append(word)
    return {word: tuple(others) for word, others in table.items()}
