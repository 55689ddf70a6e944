"""The gate reads seven languages beside English, and says so when it cannot read a prompt."""

from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairgen.attributes import Attribute
from fairgen.gate import decide
from fairgen.gate.languages import CHARACTERS, LATIN, language
from fairgen.gate.lexicon import WORDS, read_words
from fairgen.gate.multilingual import named_in, scene_beside_english
from fairgen.judging.gate_suite import SUITES, label_prompt_set, read_suite
from fairgen.judging.prompt_sets import bundled_prompt_sets
from pipelines.recipe.recipe import load_recipe
from tests.growth import grows_linearly

RECIPE = Path(__file__).parents[3] / "pipelines" / "recipes" / "portraits.yaml"
ATTRIBUTES = load_recipe(RECIPE).attributes
ALL = ("gender", "skin", "age")
FILES = sorted(file for code in (*LATIN, *CHARACTERS) for file in (WORDS / code).glob("*.txt"))


def reasons(prompt: str) -> set[str]:
    return {decision.reason for decision in decide(prompt, ATTRIBUTES).attributes.values()}


def named(prompt: str, attribute: str) -> tuple[str, ...]:
    return decide(prompt, ATTRIBUTES).attributes[attribute].named


@pytest.mark.parametrize(
    ("prompt", "code", "name"),
    [
        ("een oude vrouw in het bos", "nl", "Dutch"),
        ("портрет медсестры", "ru", "Russian"),
        ("의사의 사진", "ko", "Korean"),
        ("एक डॉक्टर की तस्वीर", "hi", "Hindi"),
        ("μια ηλικιωμένη γυναίκα στο δάσος", "el", "Greek"),
        ("bir hemşirenin portresi", "tr", "Turkish"),
        ("zdjęcie starej lekarki w szpitalu", "pl", "Polish"),
    ],
)
def test_a_language_that_is_not_read_is_left_alone(prompt: str, code: str, name: str) -> None:
    decision = decide(prompt, ATTRIBUTES)
    assert decision.free == ()
    assert reasons(prompt) == {"language"}
    assert decision.language == code
    assert decision.why("gender") == f"the gate does not read the prompt's language ({name})"


def test_every_shipped_english_prompt_is_read_as_english() -> None:
    suites = chain.from_iterable(read_suite(name) for name in SUITES)
    sets = chain.from_iterable(label_prompt_set(name) for name in bundled_prompt_sets())
    lines = [*suites, *sets]
    assert len(lines) > 1500
    assert [line.prompt for line in lines if scene_beside_english(line.prompt)] == []


@pytest.mark.parametrize(
    "prompt",
    [
        "portrait, 8k, artstation",
        "masterpiece, best quality, 1girl, solo",
        "chiaroscuro portrait of a sommelier",
        "a barista, bokeh",
        "Elena Rodriguez",
        "a maître d' in a bistro",
        "haute couture model, vogue",
        "a mariachi in Guadalajara",
        "",
        "8k, 4:5",
    ],
)
def test_terms_of_art_and_names_are_english(prompt: str) -> None:
    assert decide(prompt, ATTRIBUTES).language == "en"


@pytest.mark.parametrize(
    ("prompt", "person"),
    [
        ("una foto de un médico", "médico"),
        ("foto de un medico sonriente", "médico"),
        ("UM PADEIRO", "padeiro"),
        ("portrait d'un boulanger", "boulanger"),
        ("Foto eines Polizisten", "polizist"),
        ("ritratto di un fornaio", "fornaio"),
        ("一位厨师", "厨师"),
        ("一位廚師", "厨师"),
        ("パン職人の写真", "パン職人"),
    ],
)
def test_an_occupation_leaves_every_attribute_free(prompt: str, person: str) -> None:
    decision = decide(prompt, ATTRIBUTES)
    assert decision.free == ALL
    assert decision.person == person


def test_both_forms_of_a_noun_are_one_person_of_the_ledger() -> None:
    for woman, man in (
        ("una enfermera", "un enfermero"),
        ("une boulangère", "un boulanger"),
        ("eine Ärztin", "ein Arzt"),
        ("un'infermiera", "un infermiere"),
        ("uma escritora", "um escritor"),
    ):
        assert decide(woman, ATTRIBUTES).person == decide(man, ATTRIBUTES).person


@pytest.mark.parametrize(
    "prompt",
    [
        "una enfermera", "una dentista", "la dentista", "médica", "estudiante mexicana",
        "mujer policía", "uma cientista", "policial feminina", "une juge", "photo d'une artiste",
        "infirmière", "femme médecin", "eine Ärztin", "eine Aerztin", "weiblicher Arzt",
        "un'artista", "una vigilessa, donna", "una poliziotta", "女医生", "女性医师", "女醫生",
        "女医", "女性の看護師", "el médico es una mujer", "una mujer que trabaja como médico",
    ],
)  # fmt: skip
def test_a_form_for_women_names_gender(prompt: str) -> None:
    assert named(prompt, "gender") == ("woman",)


@pytest.mark.parametrize(
    "prompt",
    [
        "un médico hombre", "hombre enfermero", "um enfermeiro homem", "un infirmier homme",
        "männlicher Krankenpfleger", "un infermiere uomo", "男护士", "男性看護師", "un hombre",
        "médico con barba", "médecin barbu", "bärtiger Arzt", "留胡子的医生",
    ],
)  # fmt: skip
def test_a_man_is_named_by_a_word_of_his_own(prompt: str) -> None:
    assert named(prompt, "gender") == ("man",)


def test_a_masculine_form_leaves_gender_free_unless_the_recipe_mentions_it() -> None:
    for prompt in ("un médico", "um médico", "un médecin", "der Arzt", "un medico"):
        if prompt == "un medico":  # Spanish without its accent, or Italian: the same
            assert decide(prompt, ATTRIBUTES).language in ("es", "it")
        decision = decide(prompt, ATTRIBUTES)
        assert decision.attributes["gender"].reason == "masculine form"
        assert decision.attributes["gender"].act
        assert "masculine form" in decision.why("gender")
        assert decision.attributes["age"].reason == "free"

        gender = ATTRIBUTES[0].model_dump()
        gender["categories"][1]["mentions"] += ("masculine form",)
        strict = decide(prompt, [Attribute.model_validate(gender)])
        assert strict.attributes["gender"].named == ("man",)


@pytest.mark.parametrize(
    "prompt",
    [
        "un/a doctor/a", "doctor(a)", "enfermer@", "enfermerx", "enfermere", "um(a) doutor(a)",
        "unx doctorx", "une doctore", "profesor@", "ENFERMER@", "UN DOCTOR/A", "ARZT/ÄRZTIN",
        "LEHRER/-IN", "LEHRER*IN", "Lehrer/Arzt:in",
        "un·e infirmier·ère", "infirmier/infirmière", "médecin (tous genres)", "ein:e Ärzt:in",
        "Arzt/Ärztin", "ÄrztIn", "Lehrer*in", "Lehrer_in", "Krankenpfleger (m/w/d)",
        "Polizist(in)", "una persona", "une star", "eine Fachkraft", "uma vítima",
        "un médico o una médica", "医生", "看護師",
    ],
)  # fmt: skip
def test_a_form_for_every_gender_is_free(prompt: str) -> None:
    decision = decide(prompt, ATTRIBUTES).attributes["gender"]
    assert (decision.act, decision.reason) == (True, "free")


@pytest.mark.parametrize(
    ("prompt", "attribute", "category"),
    [
        ("un médico anciano", "age", "old"),
        ("un viejo y cansado médico", "age", "old"),
        ("médico de unos 70 años", "age", "old"),
        ("um jovem arquiteto", "age", "young"),
        ("un médecin d'une vingtaine d'années", "age", "young"),
        ("un cuisinier de 65 ans", "age", "old"),
        ("ein 70-jähriger Lehrer", "age", "old"),
        ("ein Arzt, 25 Jahre alt", "age", "young"),
        ("un medico di mezza età", "age", "old"),
        ("一位年老的医生", "age", "old"),
        ("六十岁的老师", "age", "old"),
        ("30代の医師", "age", "young"),
        ("un médico negro", "skin", "dark"),
        ("um médico de pele clara", "skin", "light"),
        ("un médecin à la peau foncée", "skin", "dark"),
        ("ein dunkelhäutiger Arzt", "skin", "dark"),
        ("un medico dalla pelle scura", "skin", "dark"),
        ("黑人医生", "skin", "dark"),
        ("褐色肌の医師", "skin", "brown"),
    ],
)
def test_what_stands_beside_the_person_names_a_category(
    prompt: str, attribute: str, category: str
) -> None:
    assert named(prompt, attribute) == (category,)


@pytest.mark.parametrize(
    "prompt",
    [
        "un médico con una bata blanca", "una casa vieja y un médico", "un médico, un coche viejo",
        "un médico en blanco y negro", "un médecin dans une vieille maison",
        "portrait en noir et blanc d'un médecin", "ein Arzt in einem weißen Kittel",
        "ein Arzt, alte Häuser im Hintergrund", "un medico con il camice bianco",
        "穿白大褂的医生", "老房子前的医生", "黑色背景的医生", "古い家の前の医師", "白い服の医師",
    ],
)  # fmt: skip
def test_an_adjective_of_a_thing_names_nothing(prompt: str) -> None:
    assert decide(prompt, ATTRIBUTES).free == ALL


def test_an_origin_leaves_skin_alone() -> None:
    for prompt in (
        "un médico mexicano", "un cuisinier sénégalais", "ein türkischer Lehrer",
        "um chef japonês", "un maestro marocchino", "日本厨师", "アフリカ系の教師",
    ):  # fmt: skip
        assert decide(prompt, ATTRIBUTES).free == ("gender", "age")


@pytest.mark.parametrize(
    ("prompt", "attribute", "category"),
    [
        ("un médico que no sea mujer", "gender", "woman"),
        ("un policía sin barba", "gender", "man"),
        ("un médecin qui n'est pas une femme", "gender", "woman"),
        ("ein Arzt, keine Frau", "gender", "woman"),
        ("un medico che non sia anziano", "age", "old"),
        ("不老的医生", "age", "old"),
        ("女性ではない医師", "gender", "woman"),
        ("若くない医師", "age", "young"),
    ],
)
def test_what_a_prompt_denies_is_left_alone(prompt: str, attribute: str, category: str) -> None:
    decision = decide(prompt, ATTRIBUTES).attributes[attribute]
    assert (decision.reason, decision.named) == ("negated", (category,))


@pytest.mark.parametrize(
    "prompt",
    [
        "dos médicos", "los médicos", "médicos y enfermeras", "un hombre y una mujer",
        "un grupo de médicos", "une équipe de chirurgiens", "des médecins", "deux infirmières",
        "zwei Lehrer", "die Lehrer", "Ärzte", "ein Arzt und eine Ärztin", "ein Paar",
        "um casal", "tre cuochi", "una coppia", "两位医生", "医生们", "一群学生", "3名医生",
        "医師たち", "三人の医師", "医師と看護師", "家族",
    ],
)  # fmt: skip
def test_several_people_are_left_alone(prompt: str) -> None:
    assert reasons(prompt) == {"several people"}


@pytest.mark.parametrize(
    "prompt",
    [
        "un gato en el sofá", "un sombrero de cocinero", "el coche del médico", "perro policía",
        "una playa sin gente", "un tableau à la manière d'un peintre", "le chapeau d'un cuisinier",
        "ein Hut eines Kochs", "Schneemann", "un cane vestito da poliziotto", "gatto astronauta",
        "una sedia da regista", "zapatos para niños", "医生的帽子", "医生办公室", "警车",
        "猫宇航员", "空无一人的街道", "医師の帽子", "誰もいない部屋", "雪だるま",
        "un grupo de perros", "una muñeca vestida de enfermera", "ein Roboter als Kellner",
        "la casa di un pescatore", "穿护士服的娃娃", "看護師の格好をした人形",
    ],
)  # fmt: skip
def test_who_is_not_in_the_picture_is_nobody(prompt: str) -> None:
    assert reasons(prompt) == {"no people"}


def test_a_person_known_by_name_is_left_alone() -> None:
    for prompt in ("un retrato de Frida Kahlo", "爱因斯坦", "ein Porträt von Albert Einstein"):
        assert reasons(prompt) == {"named"}
    assert decide("un pescador al estilo de Van Gogh", ATTRIBUTES).free == ALL
    assert decide("梵高风格的渔夫", ATTRIBUTES).free == ALL


@pytest.mark.parametrize(
    ("prompt", "code", "free"),
    [
        ("a photo of una enfermera, highly detailed, 8k", "es", ("skin", "age")),
        ("retrato de un médico, cinematic lighting, masterpiece, 8k", "es", ALL),
        ("医生 portrait, 8k, masterpiece", "zh", ALL),
        ("portrait of a doctor, 写实", "en", ALL),
    ],
)
def test_a_mixed_prompt_is_read_in_the_language_of_its_person(
    prompt: str, code: str, free: tuple[str, ...]
) -> None:
    decision = decide(prompt, ATTRIBUTES)
    assert (decision.language, decision.free) == (code, free)


def test_any_word_of_a_negative_prompt_names_its_categories() -> None:
    assert named_in("mujer, vieja, feo", "es", ATTRIBUTES) == {
        "gender": ("woman",),
        "age": ("old",),
    }
    assert named_in("barba, desenfocado", "es", ATTRIBUTES) == {"gender": ("man",)}
    assert named_in("老人, 男性", "zh", ATTRIBUTES) == {"gender": ("man",), "age": ("old",)}
    assert named_in("homme, flou", "fr", ATTRIBUTES) == {"gender": ("man",)}
    assert named_in("unscharf", "de", ATTRIBUTES) == {}


@pytest.mark.parametrize("code", [*LATIN, *CHARACTERS])
def test_occupations_are_many_and_every_one_is_a_person(code: str) -> None:
    occupations = language(code).listed("occupations")
    assert len(occupations) >= 400
    found = {noun.split("/")[0] for noun in occupations}
    unread = [noun for noun in found if decide(noun, ATTRIBUTES).person is None]
    assert len(unread) <= len(found) / 50, unread


def test_every_list_is_sorted_and_holds_no_word_twice() -> None:
    for file in FILES:
        words = read_words(file)
        assert all(word == word.strip().casefold() != "" for word in words), file
        assert list(words) == sorted(set(words)), file


@pytest.mark.parametrize("unit", ["医生", "un médico ", "医師の", "Ärzt:in ", "viejo, ", "ß(a)/a "])
def test_a_long_prompt_takes_no_time(unit: str) -> None:
    assert grows_linearly(lambda prompt: decide(prompt, ATTRIBUTES), unit)


WORDS_OF_ALL = sorted(
    {
        *(
            word.split(" = ")[0].split("/")[0]
            for file in FILES
            if file.stem not in ("plural_endings", "feminine_endings", "genitive_endings")
            for word in read_words(file)[::25]
        ),
        *("una", "der", "的", "の", "70", "1", "#", ",", ".", "/", "(a)", "x", ":in", "sin", "不"),
    }
)


@settings(max_examples=200, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS_OF_ALL)), space=st.sampled_from(["", " "]))
def test_any_words_have_a_decision(words: list[str], space: str) -> None:
    decision = decide(space.join(words), ATTRIBUTES)
    assert tuple(decision.attributes) == ALL
    for one in decision.attributes.values():
        assert one.act == (one.reason in ("free", "masculine form"))
        assert not (one.act and (one.named or decision.person is None))
