"""The page at `/`, driven in a headless browser by a person's path, over the real services."""

import base64
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from pipelines.recipe import Recipe, RegistryConfig, load_recipe
from pipelines.serve.gateway import create_app
from pipelines.serve.schemas import Provenance
from pipelines.serve.settings import Limits, ServeSettings
from tests.painted import grey_levels
from tests.pipelines.browser import headless_browser
from tests.pipelines.conftest import SHIPPED
from tests.pipelines.in_process import InProcess, listening
from tests.pipelines.page import TIMEOUT_S, Page, contained
from tests.pipelines.records import read_provenance
from tests.pipelines.registered import register_champions

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@dataclass(frozen=True)
class Endpoint:
    """A running server: its address, and the services behind it."""

    address: str
    backend: InProcess
    recipe: Recipe
    settings: ServeSettings


def record_of(file: bytes) -> Provenance:
    """Return the record inside a picture's file."""
    record = read_provenance(file)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def endpoint(tracking_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The embedded model with champions for all of its attributes."""
    recipe = load_recipe(SHIPPED / "portraits.yaml").model_copy(
        update={"registry": RegistryConfig(prefix="page", experiment="page")}
    )
    settings = ServeSettings(tracking_uri=tracking_uri, poll_s=None)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", tracking_uri)  # a download leaves it there
        register_champions(tracking_uri, recipe, tmp_path_factory.mktemp("page"), seed=0)
        backend = InProcess(settings, recipe)
        with listening(create_app(backend, settings, recipe)) as address:
            yield Endpoint(address, backend, recipe, settings)
        backend.generator.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A headless browser."""
    with headless_browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield Page(driver)


@pytest.fixture(autouse=True)
def usual_window(page: Page) -> None:
    page.resize(1280, 1000)


def test_a_person_prescribes_compares_and_looks_where_a_picture_comes_from(
    page: Page, endpoint: Endpoint
) -> None:
    page.open(endpoint.address)
    assert page.texts("#attributes legend") == ["gender", "skin", "age"]
    assert page.texts("#attribute-gender .slider label") == ["woman", "man"]
    assert page.shares("gender") == [50, 50] and page.shares("skin") == [25, 25, 25, 25]
    assert page.text("#attribute-gender .small") == (
        "How often pictures show what was asked: woman 97 %, man 97 %"
    )

    page.write("prompt", "a photo of a firefighter")
    page.write("seed", "100")
    page.one("#share-gender-woman").send_keys(Keys.ARROW_RIGHT * 25)
    assert page.shares("gender") == [75, 25]
    page.one("#on-skin").click()
    assert not page.one("#share-skin-tan").is_enabled()
    page.generate()
    assert page.text("#status") == "Done: 16 pictures"

    assert page.texts("#panels h2") == ["As prescribed", "Fairness off"]
    fair, off = (
        [record_of(file) for file in page.pictures(panel)] for panel in ("panel-fair", "panel-off")
    )
    assert [record.seed for record in fair] == [record.seed for record in off] == [*range(100, 108)]
    assert all(record.categories == {} and record.gate is None for record in off)
    assert page.texts("#panel-fair figcaption") == [
        f"{record.categories['gender']}, {record.categories['age']}\nseed {record.seed}"
        for record in fair
    ]
    assert page.texts("#panel-off figcaption") == [f"seed {seed}" for seed in range(100, 108)]

    counts = Counter(record.categories["gender"] for record in fair)
    assert counts == {"woman": 6, "man": 2}
    assert page.texts("#shares caption") == ["gender", "age"]
    assert page.texts("#shares-gender tbody tr") == ["woman\n6 of 8 75 %", "man\n2 of 8 25 %"]
    bars = [
        [page.one(f"#shares-gender tr:nth-child({row}) .{part}").get_attribute("style")
         for part in ("fill", "tick")]
        for row in (1, 2)
    ]  # fmt: skip
    assert bars == [["width: 75%;", "left: 75%;"], ["width: 25%;", "left: 25%;"]]
    assert not page.one("#notes").is_displayed()

    third = page.all("#panel-fair .frame")[2]
    shown = f"{fair[2].categories['gender']}, {fair[2].categories['age']}"
    assert page.all("#panel-fair img")[2].get_attribute("alt") == (
        f"a photo of a firefighter: {shown}, seed 102. Show where it comes from."
    )
    third.send_keys(Keys.ENTER)
    assert page.text("#record-title") == f"Picture 3: {shown}"
    assert page.texts("#record figcaption") == ["As prescribed", "Same seed, fairness off"]
    record = dict(zip(page.texts("#record dt"), page.texts("#record dd"), strict=True))
    assert record["seed"] == "102" and record["steps"] == "12" and record["model"] == "page"
    for adapter in fair[2].adapters:
        assert f"{adapter.name}, version {adapter.version}" in record["adapters"]
        assert adapter.sha256 in record["adapters"]
    assert "person: firefighter" in record["gate"]
    link = page.one("#record a")
    assert link.get_attribute("download") == f"fairgen-102-{shown.replace(', ', '-')}.png"
    assert record_of(contained(link, "href")) == fair[2]
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()
    assert not page.one("#record").is_displayed()
    assert page.driver.switch_to.active_element == third

    assert page.complaints() == []
    assert page.foreign_requests(endpoint.address) == []


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_what_a_person_needs_first_is_on_the_first_screen_and_pictures_stand_side_by_side(
    page: Page, endpoint: Endpoint, tmp_path: Path, width: int, height: int
) -> None:
    page.resize(width, height)
    page.open(endpoint.address)
    for selector in ("#prompt", "#examples", "#n", "#generate"):
        assert page.on_screen(selector), f"{selector} at {width} x {height}"
    page.all("#examples button")[1].click()
    assert page.one("#prompt").get_property("value") == "a portrait of a nurse"
    page.write("n", "2")
    page.write_steps("2")
    page.generate()
    page.wait(lambda: page.on_screen("#panel-fair figure"))
    assert page.on_screen("#panel-off figure")
    fair, off = (page.one(f"#panel-{name} .frame").rect for name in ("fair", "off"))
    assert abs(fair["y"] - off["y"]) <= 1 and fair["x"] + fair["width"] < off["x"]
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    page.driver.save_screenshot(tmp_path / f"{width}.png")
    assert page.complaints() == []


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_a_long_word_makes_the_page_no_wider_than_its_window(
    page: Page, endpoint: Endpoint, width: int, height: int
) -> None:
    page.resize(width, height)
    page.open(endpoint.address)
    page.write("prompt", "a doctor " + "x" * 300)
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_stand_out_from_what_they_lie_on(page: Page, endpoint: Endpoint, scheme: str) -> None:
    """The least contrast of what is drawn, by WCAG 2.2, 1.4.11."""
    asked = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
    page.open(endpoint.address)
    page.write("n", "2")
    page.write_steps("2")
    page.generate()
    bar, track, tick = (page.colour(f"#shares .{part}") for part in ("fill", "track", "tick"))
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert contrast(bar, track) >= 3 and contrast(bar, tick) >= 3


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the ratio of two colours' relative luminances, each raised by 0.05."""

    def luminance(colour: tuple[int, ...]) -> float:
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
            for part in (value / 255 for value in colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_shares_always_sum_to_100(page: Page, endpoint: Endpoint) -> None:
    page.open(endpoint.address)
    dark = page.one("#share-skin-dark")
    for keys in (*[Keys.ARROW_RIGHT] * 4, Keys.HOME, Keys.END, Keys.ARROW_LEFT):
        dark.send_keys(keys)
        assert sum(page.shares("skin")) == 100
    assert page.shares("skin")[3] == 99
    page.one("#attribute-skin button").click()
    assert page.shares("skin") == [25, 25, 25, 25]
    page.one("#share-skin-light").send_keys(Keys.ARROW_RIGHT * 15)
    assert page.shares("skin") == [40, 20, 20, 20]
    width = page.one("#share-skin-tan").size["width"]
    ActionChains(page.driver).drag_and_drop_by_offset(
        page.one("#share-skin-tan"), width, 0
    ).perform()
    assert page.shares("skin") == [0, 100, 0, 0]
    assert page.texts("#attribute-skin output") == ["0 %", "100 %", "0 %", "0 %"]
    assert '"skin": {"light": 0, "tan": 1, "brown": 0, "dark": 0}' in page.text("#curl")
    for name in ("gender", "skin", "age"):
        page.one(f"#on-{name}").click()
    assert '"fairness": "off"' in page.text("#curl")
    assert page.complaints() == []


def test_the_lines_beside_the_pictures_make_the_request_again(
    page: Page, endpoint: Endpoint, tmp_path: Path
) -> None:
    prompt = """a photo of a doctor, "it's" <b id="markup">5 o'clock</b> \\ $HOME"""
    page.open(endpoint.address)
    page.write("prompt", prompt)
    page.write("n", "2")
    page.write_steps("4")
    page.generate()
    assert page.text("#status") == "Done: 4 pictures" and page.all("#markup") == []
    shown = page.pictures("panel-fair")
    painted = [record_of(file) for file in shown]
    assert painted[0].prompt == prompt and painted[0].num_inference_steps == 4

    subprocess.run(["bash", "-c", page.text("#curl")], cwd=tmp_path, check=True, timeout=TIMEOUT_S)
    again = json.loads((tmp_path / "pictures.json").read_text())["data"]
    subprocess.run([sys.executable, "-c", page.text("#python")], cwd=tmp_path, check=True,
                   timeout=TIMEOUT_S)  # fmt: skip
    files = [record_of((tmp_path / f"{index}.png").read_bytes()) for index in range(2)]
    for index, record in enumerate(painted):
        for other in (files[index], record_of(base64.b64decode(again[index]["b64_json"]))):
            assert (other.prompt, other.seed, other.num_inference_steps) == (
                record.prompt, record.seed, record.num_inference_steps
            )  # fmt: skip
            assert other.categories == record.categories and other.adapters == record.adapters
        for other in ((tmp_path / f"{index}.png").read_bytes(),
                      base64.b64decode(again[index]["b64_json"])):  # fmt: skip
            assert grey_levels(other, shown[index]) <= 1
    assert "they come again" in page.text("#again-note")
    page.write("n", "3")
    assert '"fairness"' in page.text("#curl") and "goes on from there" in page.text("#again-note")
    page.one("#copy-curl").click()
    page.wait(lambda: page.text("#copy-curl") in ("Copied", "Selected"))
    assert page.complaints() == []


def test_a_person_begins_from_a_picture(page: Page, endpoint: Endpoint, tmp_path: Path) -> None:
    page.open(endpoint.address)
    page.write("n", "1")
    page.write("seed", "5")
    page.one("#compare").click()
    page.generate()
    (before,) = page.pictures("panel-fair")
    picture = tmp_path / """it's "my" photo.png"""
    picture.write_bytes(before)

    page.one("#begin summary").click()
    assert not page.one("#strength").is_enabled() and not page.one("#no-image").is_displayed()
    page.one("#image").send_keys(str(picture))
    page.one("#strength").send_keys(Keys.ARROW_LEFT * 4)
    assert page.text("#strength-percent") == "60 %"
    page.one("#compare").click()
    page.write("n", "2")
    page.generate()
    assert page.text("#status") == "Done: 4 pictures"
    shown = page.pictures("panel-fair")
    records = [record_of(file) for file in (*shown, *page.pictures("panel-off"))]
    for record in records:
        assert record.start is not None and not record.start.masked
        assert record.start.sha256 == hashlib.sha256(before).hexdigest()
        assert record.start.strength == 0.6
    assert [set(record.categories) for record in records] == [{"gender", "skin", "age"}] * 2 + [
        set()
    ] * 2
    page.all("#panel-fair .frame")[0].click()
    record = dict(zip(page.texts("#record dt"), page.texts("#record dd"), strict=True))
    assert record["begun from"].startswith("a picture, strength 0.6")
    ActionChains(page.driver).send_keys(Keys.ESCAPE).perform()

    assert "they come again" in page.text("#again-note")
    subprocess.run(["bash", "-c", page.text("#curl")], cwd=tmp_path, check=True, timeout=TIMEOUT_S)
    again = json.loads((tmp_path / "pictures.json").read_text())["data"]
    subprocess.run([sys.executable, "-c", page.text("#python")], cwd=tmp_path, check=True,
                   timeout=TIMEOUT_S)  # fmt: skip
    for index, file in enumerate(shown):
        for other in ((tmp_path / f"{index}.png").read_bytes(),
                      base64.b64decode(again[index]["b64_json"])):  # fmt: skip
            assert grey_levels(other, file) <= 1
    for width in (1280, 390):
        page.resize(width, 900)
        page.driver.save_screenshot(tmp_path / f"edit-{width}.png")
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert page.complaints() == []

    (tmp_path / "no.png").write_bytes(b"no picture")
    page.one("#image").send_keys(str(tmp_path / "no.png"))
    page.generate()
    assert page.text("#image-wrong") == (
        "Picture: got a file that cannot be read, allowed are whole PNG, JPEG and WebP"
    )
    page.one("#no-image").click()
    assert page.focused() == "image" and page.text("#image-wrong") == ""
    assert "/images/generations" in page.text("#curl") and "strength" not in page.text("#curl")
    assert all("400 (Bad Request)" in complaint for complaint in page.complaints())


@pytest.mark.parametrize(
    ("prompt", "title", "notes"),
    [
        (
            "a nonbinary doctor",
            "As prescribed, but for gender",
            ["gender: the prompt names it, so it is left alone."],
        ),
        (
            "a photo of a female nurse",
            "As prescribed, but for gender",
            ["gender: the prompt names it (woman), so it is left alone."],
        ),
        (
            "a portrait of Albert Einstein",
            "Not balanced",
            [
                f"{name}: the prompt names albert, so it is left alone."
                for name in ("gender", "skin", "age")
            ],
        ),
        (
            "a photo of a car",
            "Not balanced",
            [
                f"{name}: the prompt names no person, so it is left alone."
                for name in ("gender", "skin", "age")
            ],
        ),
    ],
)
def test_what_the_gate_left_alone_is_said_in_a_sentence(
    page: Page, endpoint: Endpoint, prompt: str, title: str, notes: list[str]
) -> None:
    page.open(endpoint.address)
    page.write("prompt", prompt)
    page.write("n", "1")
    page.write_steps("2")
    page.one("#compare").click()
    page.generate()
    assert page.texts("#notes li") == notes
    assert page.texts("#panels h2") == [title]
    red, green, _ = page.colour("#notes", "color")
    assert red > 2 * green
    assert "gender" not in page.texts("#shares caption")
    assert page.complaints() == []


def test_an_error_stands_at_its_field_and_the_pictures_stay(page: Page, endpoint: Endpoint) -> None:
    page.open(endpoint.address)
    page.write("n", "1")
    page.write_steps("2")
    page.generate()
    assert len(page.pictures("panel-fair")) == 1 and page.complaints() == []

    page.one("#prompt").clear()
    page.write("n", "17")
    page.generate()
    assert page.text("#prompt-wrong") == "Prompt: write what to paint"
    assert page.text("#n-wrong") == "Number of images: allowed are whole numbers from 1 to 16"
    assert page.focused() == "prompt"
    assert page.one("#n").get_attribute("aria-invalid") == "true"
    assert page.complaints() == []

    page.write("prompt", "a photo of a doctor")
    page.write("n", "2")
    page.write_steps("1000")
    page.one("#more summary").click()
    page.generate()
    assert page.text("#num_inference_steps-wrong") == ("Steps: got 1000, allowed are at most 100")
    assert page.focused() == "num_inference_steps"
    assert page.text("#n-wrong") == "" and page.text("#status") == ""
    assert len(page.pictures("panel-fair")) == 1
    assert all("400 (Bad Request)" in complaint for complaint in page.complaints())


def test_stop_frees_the_server(page: Page, endpoint: Endpoint) -> None:
    generator = endpoint.backend.generator
    page.open(endpoint.address)
    page.write("n", "16")
    page.write_steps("100")
    page.one("#generate").click()
    page.wait(lambda: page.all(".rough"))
    assert generator.engine_state.pending == 32
    assert page.focused() == "stop"
    page.one("#stop").click()
    page.wait(lambda: page.one("#generate").is_enabled())
    assert page.text("#status").startswith("Stopped: ")
    assert page.focused() == "generate" and page.text("#request-wrong") == ""
    page.wait(lambda: generator.engine_state.pending == 0)
    assert page.complaints() == []


def test_a_picture_that_the_browser_chooses_again_is_seen_to_be_chosen(
    page: Page, endpoint: Endpoint, tmp_path: Path
) -> None:
    """A browser may fill in a form again that a person comes back to, and the page is not told."""
    (tmp_path / "photo.png").write_bytes(b"chosen, never sent")
    page.open(endpoint.address)
    page.one("#begin summary").click()
    page.one("#image").send_keys(str(tmp_path / "photo.png"))
    page.driver.get(f"{endpoint.address}/health")
    page.driver.back()
    page.wait(lambda: page.one("#attributes").get_attribute("aria-busy") == "false")

    assert str(page.one("#image").get_property("value")).endswith("photo.png")
    assert page.one("#no-image").is_displayed() and page.one("#strength").is_enabled()
    assert "image=" in page.text("#curl")
    page.one("#no-image").click()
    assert "image=" not in page.text("#curl")


def test_an_answer_that_breaks_off_says_why(page: Page, endpoint: Endpoint) -> None:
    hasty = endpoint.settings.model_copy(update={"limits": Limits(timeout_s=1.0)})
    with listening(create_app(endpoint.backend, hasty, endpoint.recipe)) as address:
        page.open(address)
        page.write("n", "16")
        page.write_steps("100")
        page.generate()
        assert page.text("#request-wrong") == "no picture within 1 s"
        assert page.text("#status").startswith("Stopped: ")
        page.wait(lambda: endpoint.backend.generator.engine_state.pending == 0)
        assert page.complaints() == []
    page.generate()
    assert page.text("#request-wrong") == "The server cannot be reached."
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in page.complaints())


def test_a_key_is_asked_for_and_kept_out_of_the_lines(
    page: Page, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(endpoint.settings.access.keys_env, "open-sesame-open")
    app = create_app(endpoint.backend, endpoint.settings, endpoint.recipe)
    with listening(app) as address:
        page.open(address)
        assert page.focused() == "key" and page.all("#attributes fieldset") == []
        page.write("key", "wrong" + Keys.ENTER)
        page.wait(lambda: page.text("#key-wrong") == "This key is not known.")
        page.write("key", "open-sesame-open" + Keys.ENTER)
        page.wait(lambda: page.all("#attributes fieldset"))
        assert page.text("#key-wrong") == ""
        page.write("n", "1")
        page.write_steps("2")
        page.generate()
        assert page.text("#status") == "Done: 2 pictures"
        assert '-H "Authorization: Bearer $FAIRGEN_API_KEY"' in page.text("#curl")
        assert 'os.environ["FAIRGEN_API_KEY"]' in page.text("#python")
        assert "open-sesame-open" not in page.text("#curl") + page.text("#python")
        assert all("401 (Unauthorized)" in complaint for complaint in page.complaints())


def test_without_attributes_the_base_model_paints(page: Page, endpoint: Endpoint) -> None:
    settings = endpoint.settings.model_copy(update={"tracking_uri": None})
    backend = InProcess(settings, endpoint.recipe)
    try:
        with listening(create_app(backend, settings, endpoint.recipe)) as address:
            page.open(address)
            assert page.text("#attributes").startswith("No attribute is served")
            page.write("n", "1")
            page.write_steps("2")
            page.generate()
            assert page.text("#status") == "Done: 1 picture"
            assert page.texts("#panels h2") == ["Fairness off"]
            assert page.complaints() == []
    finally:
        backend.generator.close()
