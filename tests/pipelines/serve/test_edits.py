"""Pictures that are there already are brought into the prescribed distribution, over HTTP."""

import base64
import hashlib
import io
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting
from openai import BadRequestError, OpenAI
from PIL import Image

from fairgen.provenance.xmp import digital_source_type
from pipelines.recipe.models import load_pipe
from pipelines.recipe.recipe import Recipe
from pipelines.serve.models import ModelAlias
from pipelines.serve.settings import AccessConfig
from tests.families import tiny
from tests.painted import grey_levels
from tests.pipelines.endpoint import LIMITS, OPTIONS, Endpoint, open_endpoint
from tests.pipelines.processes import wait_for
from tests.pipelines.records import read_provenance

pytestmark = pytest.mark.slow

EDITS, PROMPT = "/v1/images/edits", "a photo of a doctor"
UPLOADS = LIMITS.model_copy(update={"upload_bytes": 200_000, "upload_pixels": 250_000})


def noise(width: int = 16, height: int = 16, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def left_half(width: int = 16, height: int = 16) -> Image.Image:
    """Return a mask that is transparent on the left."""
    mask = Image.new("RGBA", (width, height), "white")
    mask.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    return mask


@pytest.fixture(scope="module")
def recipe(make_served: Callable[..., Recipe]) -> Recipe:
    return make_served("edited")


@pytest.fixture(scope="module")
def endpoint(tracking_uri: str, recipe: Recipe) -> Iterator[Endpoint]:
    models = {"gpt-image-1": ModelAlias(fairness={"gender": "uniform"}, size_policy="native")}
    yield from open_endpoint(recipe, tracking_uri=tracking_uri, limits=UPLOADS, models=models)


def edit(endpoint: Endpoint, image: Any = None, **asked: Any) -> list[Any]:
    """Return the pictures that the official client gets."""
    named = {name: asked.pop(name) for name in ("n", "mask", "size", "model") if name in asked}
    return endpoint.client.images.edit(
        image=png(noise()) if image is None else image,
        prompt=asked.pop("prompt", PROMPT),
        extra_body=OPTIONS | asked,
        **named,
    ).data


def send(endpoint: Endpoint, files: list[tuple[str, Any]], **fields: str) -> httpx2.Response:
    """Return the answer to a form."""
    fields = {"prompt": PROMPT, "num_inference_steps": "2"} | fields
    return httpx2.post(endpoint.address + EDITS, data=fields, files=files, timeout=60)


def pixels(picture: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(picture.b64_json)))


def test_the_official_client_s_edits_are_in_the_prescribed_distribution(
    endpoint: Endpoint,
) -> None:
    start = png(noise())
    pictures = edit(endpoint, start, n=4, fairness={"gender": "uniform"}, seed=5, strength=0.6)
    records = [picture.provenance for picture in pictures]
    assert Counter(record["categories"]["gender"] for record in records) == {"woman": 2, "man": 2}
    assert [record["seed"] for record in records] == [5, 6, 7, 8]
    sha256 = hashlib.sha256(start).hexdigest()
    for picture, record in zip(pictures, records, strict=True):
        assert record["start"] == {"sha256": sha256, "strength": 0.6, "masked": False}
        inside = read_provenance(base64.b64decode(picture.b64_json))
        assert inside is not None and inside.model_dump(mode="json") == record
        assert record["gate"]["person"] == "doctor"


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_an_edit_is_that_of_the_family_s_own_pipeline(
    endpoint: Endpoint, strength: float, masked: bool
) -> None:
    kind: Any = AutoPipelineForInpainting if masked else AutoPipelineForImage2Image
    theirs = kind.from_pipe(load_pipe(endpoint.recipe))
    theirs.set_progress_bar_config(disable=True)
    options: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": 2.0}
    white = Image.new("L", (16, 16), 0)
    white.paste(255, (0, 0, 8, 16))
    (expected,) = theirs(
        PROMPT, image=noise(), strength=strength, generator=torch.Generator().manual_seed(9),
        **options, **({"mask_image": white, "height": 16, "width": 16} if masked else {}),
    ).images  # fmt: skip
    mask = {"mask": png(left_half())} if masked else {}
    (ours,) = edit(endpoint, strength=strength, seed=9, fairness="off", **options, **mask)
    assert grey_levels(png(expected), base64.b64decode(ours.b64_json)) <= 1
    assert ours.provenance["start"]["masked"] is masked


def test_without_a_strength_a_mask_decides_it(endpoint: Endpoint) -> None:
    (whole,), (masked,) = edit(endpoint), edit(endpoint, mask=png(left_half()))
    strengths = [picture.provenance["start"]["strength"] for picture in (whole, masked)]
    assert strengths == [0.8, 1.0]


def test_a_record_s_categories_and_seed_give_its_edit_again(endpoint: Endpoint) -> None:
    (first,) = edit(endpoint, seed=3)
    again = {"seed": 3, "categories": first.provenance["categories"]}
    (second,) = edit(endpoint, **again)
    assert second.provenance["categories"] == first.provenance["categories"] != {}
    assert grey_levels(*(base64.b64decode(p.b64_json) for p in (first, second))) <= 1


def test_of_several_pictures_each_is_painted_n_times_under_one_quota(endpoint: Endpoint) -> None:
    images = [png(noise(seed=seed)) for seed in range(3)]
    pictures = edit(endpoint, images, n=2, fairness={"gender": "uniform"}, seed=0, prompt="a chef")
    records = [picture.provenance for picture in pictures]
    sha256 = [hashlib.sha256(image).hexdigest() for image in images for _ in range(2)]
    assert [record["start"]["sha256"] for record in records] == sha256
    assert [record["seed"] for record in records] == list(range(6))
    assert Counter(record["categories"]["gender"] for record in records) == {"woman": 3, "man": 3}
    chosen = [{"gender": gender} for gender in ("man", "woman", "man", "man", "woman", "woman")]
    pictures = edit(endpoint, images, n=2, categories=json.dumps(chosen))
    assert [picture.provenance["categories"] for picture in pictures] == chosen


@pytest.mark.parametrize(
    ("asked", "painted"),
    [
        ({}, (32, 16)),
        ({"size": "auto"}, (32, 16)),
        ({"size": "16x24"}, (16, 24)),
        ({"model": "gpt-image-1"}, (32, 16)),
        ({"model": "gpt-image-1", "size": "1024x1024"}, (16, 16)),
    ],
)
def test_a_picture_is_painted_at_its_own_size_or_the_asked_one(
    endpoint: Endpoint, asked: dict[str, str], painted: tuple[int, int]
) -> None:
    (picture,) = edit(endpoint, png(noise(33, 18)), **asked)
    assert pixels(picture).size == painted


def test_pictures_of_several_sizes_keep_them(endpoint: Endpoint) -> None:
    images = [png(noise(*size)) for size in ((16, 16), (24, 16), (300, 150))]
    assert [pixels(p).size for p in edit(endpoint, images)] == [(16, 16), (24, 16), (64, 32)]


def test_of_the_sizes_that_a_recipe_lists_a_picture_gets_the_nearest(
    tracking_uri: str, recipe: Recipe
) -> None:
    generation = recipe.generation.model_copy(update={"sizes": ("16x16", "32x16")})
    listed = recipe.model_copy(update={"generation": generation})
    for endpoint in open_endpoint(listed, tracking_uri=tracking_uri):
        assert pixels(edit(endpoint, png(noise(60, 32)))[0]).size == (32, 16)
        with pytest.raises(BadRequestError, match="size: got 24x16, allowed are 16x16, 32x16"):
            edit(endpoint, size="24x16")


def test_edits_stream_under_openai_s_names(endpoint: Endpoint) -> None:
    events = list(
        endpoint.client.images.edit(
            image=[png(noise()), png(noise(seed=1))], prompt="a nurse", stream=True,
            partial_images=2, extra_body=OPTIONS | {"num_inference_steps": 8, "strength": 0.5},
        )
    )  # fmt: skip
    kinds = Counter((event.type, event.index) for event in events)
    assert kinds == {
        ("image_edit.partial_image", 0): 2, ("image_edit.partial_image", 1): 2,
        ("image_edit.completed", 0): 1, ("image_edit.completed", 1): 1,
    }  # fmt: skip
    done = [event for event in events if event.type == "image_edit.completed"]
    assert all(event.provenance["start"]["strength"] == 0.5 for event in done)
    for event in events:  # partial ones have no record
        with Image.open(io.BytesIO(base64.b64decode(event.b64_json))) as image:
            packet = image.info["XML:com.adobe.xmp"]
        kind = digital_source_type(packet)
        assert kind is not None and kind.endswith("/compositeWithTrainedAlgorithmicMedia")


def test_fairness_comes_by_a_header_too(endpoint: Endpoint) -> None:
    header = {"X-Fairness": '{"gender": {"man": 1.0}}'}
    client = OpenAI(
        base_url=f"{endpoint.address}/v1", api_key="none", max_retries=0, default_headers=header
    )
    (picture,) = client.images.edit(
        image=png(noise()), prompt=PROMPT, extra_body=OPTIONS, response_format="url"
    ).data
    content = base64.b64decode(picture.url.partition(",")[2])
    assert read_provenance(content).categories == {"gender": "man"}


def test_a_try_is_known_again_whatever_its_boundary_is(endpoint: Endpoint) -> None:
    def ask(count: str, key: str | None, image: bytes = png(noise())) -> httpx2.Response:
        headers = {"x-stainless-retry-count": count} | ({"Idempotency-Key": key} if key else {})
        form = {"prompt": "a pilot", "num_inference_steps": "2", "fairness[gender]": "uniform"}
        return httpx2.post(
            endpoint.address + EDITS, data=form, files={"image": image}, headers=headers, timeout=60
        )

    for key in (None, "one of the client's own"):
        first, again = ask("0", key), ask("1", key)
        assert first.status_code == again.status_code == 200
        assert first.request.headers["content-type"] != again.request.headers["content-type"]
        assert first.json() == again.json()
    other = ask("1", "one of the client's own", image=png(noise(seed=1)))
    assert other.status_code == 400
    assert other.json()["error"]["code"] == "idempotency_key_reused"


A_PNG = ("image", ("x.png", png(noise()), "image/png"))


@pytest.mark.parametrize(
    ("files", "fields", "param", "message"),
    [
        ([], {}, "content-type", "allowed is multipart/form-data"),
        ([("mask", png(left_half()))], {}, "image", "image: got none, allowed are 1 to 16 files"),
        ([A_PNG] * 17, {}, "image", "image: got 17, allowed are at most 16"),
        ([A_PNG] * 5, {"n": "4"}, "n", "n: got 4 of each of 5 pictures, allowed are at most 16"),
        ([("image", ("x.png", b"GIF89a", "image/png"))], {}, "image", "cannot be read"),
        ([("image", ("x.png", png(noise())[:80], "image/png"))], {}, "image", "cannot be read"),
        ([("image", ("x.png", b"", "image/png"))], {}, "image", "got an empty file"),
        ([("image", png(Image.new("1", (800, 800))))], {}, "image", "got 800x800 pixels"),
        ([A_PNG, ("mask", png(left_half(8, 8)))], {}, "mask", "allowed is the size of image"),
        ([A_PNG, *[("mask", png(left_half()))] * 2], {}, "mask", "mask: got 2, allowed is one"),
        ([A_PNG], {"prompt": "x" * 2049}, "prompt", "prompt: got 2049 bytes"),
        ([A_PNG], {"prompt": ""}, "prompt", "at least 1 character"),
        ([A_PNG], {"strength": "0.01"}, "strength", "which leaves none of 2 steps"),
        ([A_PNG], {"strength": "2"}, "strength", "strength: got 2: Input should be less than or"),
        ([A_PNG], {"size": "17x16"}, "size", "size: got 17x16, allowed are multiples of 4"),
        ([A_PNG], {"fairness[gender][child]": "1"}, "fairness.gender", "got ['child'], allowed"),
        ([A_PNG], {"categories": "[{}, {}]"}, "categories", "got those of 2 pictures"),
        ([A_PNG], {"etta": "1"}, "etta", "etta: unknown field; allowed are image, mask, prompt"),
        ([A_PNG], {"seed": str(2**63)}, "seed", "less than or equal to"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_met_is_a_400_that_names_the_field(
    endpoint: Endpoint, files: list[tuple[str, Any]], fields: dict[str, str], param: str,
    message: str,
) -> None:  # fmt: skip
    answer = send(endpoint, files, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param), error
    assert error["type"] == "invalid_request_error" and message in error["message"]


def test_what_is_refused_counts_for_nothing(endpoint: Endpoint) -> None:
    even = {"fairness[gender]": "uniform", "prompt": "a photo of a baker"}
    for _ in range(3):
        assert send(endpoint, [A_PNG], **even, strength="0.01").status_code == 400
        assert send(endpoint, [("image", png(noise())[:80])], **even).status_code == 400
    given = [send(endpoint, [A_PNG], **even).json()["data"][0] for _ in range(4)]
    counts = Counter(picture["provenance"]["categories"]["gender"] for picture in given)
    assert counts == {"woman": 2, "man": 2}


def test_a_body_over_the_limit_is_a_413_and_one_at_it_is_read(endpoint: Endpoint) -> None:
    large = send(endpoint, [("image", b"x" * 200_001)])
    assert large.status_code == 413 and "allowed are 200000" in large.json()["error"]["message"]
    assert send(endpoint, [("image", b"x" * 190_000)]).status_code == 400


def test_paths_and_kinds_of_bodies_that_are_nearly_right_are_told_the_right_ones(
    endpoint: Endpoint,
) -> None:
    answer = httpx2.post(endpoint.address + "/v1/images/variations", files={"image": b"x"})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == (
        "path: got /v1/images/variations, allowed is /v1/images/edits, with a prompt and a "
        "`strength`"
    )
    answer = httpx2.post(endpoint.address + "/images/edits", files={"image": b"x"})
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        404, "path: got /images/edits, allowed is /v1/images/edits"
    )  # fmt: skip
    answer = httpx2.post(endpoint.address + EDITS, json={"prompt": PROMPT})
    assert answer.status_code == 400
    assert "allowed is multipart/form-data" in answer.json()["error"]["message"]
    form = {"prompt": (None, PROMPT)}
    answer = httpx2.post(endpoint.address + "/v1/images/generations", files=form)
    assert answer.status_code == 400
    assert "allowed is application/json; /v1/images/edits" in answer.json()["error"]["message"]
    assert httpx2.get(endpoint.address + EDITS).status_code == 405


def test_edits_are_counted_by_their_status(endpoint: Endpoint) -> None:
    def counted(status: int) -> float:
        line = f'fairgen_answers_total{{status="{status}"}} '
        found = [row for row in endpoint.get("/metrics").splitlines() if row.startswith(line)]
        return float(found[0].split()[-1]) if found else 0.0

    before = [counted(status) for status in (200, 400)]
    edit(endpoint)
    send(endpoint, [])
    assert [counted(status) for status in (200, 400)] == [before[0] + 1, before[1] + 1]


def test_the_docs_show_the_form(endpoint: Endpoint) -> None:
    schema = json.loads(endpoint.get("/openapi.json"))["paths"][EDITS]["post"]["requestBody"]
    fields = schema["content"]["multipart/form-data"]["schema"]["properties"]
    assert fields["image"]["items"] == {"type": "string", "format": "binary"}
    assert fields["strength"]["maximum"] == 1


def test_a_client_that_leaves_frees_its_edit(recipe: Recipe, tracking_uri: str) -> None:
    limits = UPLOADS.model_copy(update={"num_steps": 200})  # it has left before they are done
    for endpoint in open_endpoint(recipe, tracking_uri=tracking_uri, limits=limits):
        engine = endpoint.backend.generator
        request = httpx2.Request(
            "POST", endpoint.address + EDITS, files=[A_PNG],
            data={"prompt": "a sailor", "n": "16", "num_inference_steps": "200", "strength": "1"},
        )  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        host, _, port = endpoint.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"POST {EDITS} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            wait_for(lambda engine=engine: engine.engine_state.pending)
        wait_for(partial(endpoint.backend.has_given_back, 16), timeout_s=20)
        wait_for(lambda engine=engine: not engine.engine_state.pending, timeout_s=20)


def test_an_edit_weighs_by_the_steps_that_it_takes(recipe: Recipe) -> None:
    limits = UPLOADS.model_copy(update={"queued_images": 16, "num_steps": 200})
    for endpoint in open_endpoint(recipe, limits=limits):
        fields = {"n": "8", "num_inference_steps": "200"}
        with ThreadPoolExecutor(4) as pool:
            whole = [pool.submit(send, endpoint, [A_PNG], **fields, strength="1") for _ in range(2)]
            assert sorted(each.result().status_code for each in whole) == [200, 429]
            little = [
                pool.submit(send, endpoint, [A_PNG], **fields, strength="0.02") for _ in range(3)
            ]
            assert {each.result().status_code for each in little} == {200}


def test_pictures_that_wait_to_be_painted_are_counted_until_they_are(recipe: Recipe) -> None:
    """64 x 64 pixels in RGB take 12,288 bytes, and 16 of them two thirds of what there is."""
    limits = UPLOADS.model_copy(
        update={"uploads_bytes": 300_000, "num_steps": 200, "queued_images": 5000}
    )
    sixteen = [("image", png(noise()))] * 16
    for endpoint in open_endpoint(recipe, limits=limits):
        large = {"size": "64x64", "num_inference_steps": "200", "strength": "0.1"}
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(send, endpoint, sixteen, **large) for _ in range(2)]
            first, second = sorted((each.result() for each in answers), key=lambda a: a.status_code)
        assert (first.status_code, second.status_code) == (200, 429)
        assert "bytes of pictures are in memory" in second.json()["error"]["message"]
        assert int(second.headers["Retry-After"]) >= 1
        assert send(endpoint, sixteen, **large).status_code == 200
    tight = limits.model_copy(update={"uploads_bytes": 200_000})
    for endpoint in open_endpoint(recipe, limits=tight):
        answer = send(endpoint, sixteen, size="64x64")
        assert answer.status_code == 413
        assert "bytes at once, allowed are 150000" in answer.json()["error"]["message"]


def test_keys_are_asked_for_before_a_body_is_read(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIRGEN_API_KEYS", "a-key-of-16-characters")
    for endpoint in open_endpoint(recipe, access=AccessConfig(), limits=UPLOADS):
        host, _, port = endpoint.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(
                f"POST {EDITS} HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n".encode()
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 401")
        client = OpenAI(base_url=f"{endpoint.address}/v1", api_key="a-key-of-16-characters")
        assert client.images.edit(image=png(noise()), prompt=PROMPT, extra_body=OPTIONS).data


def test_a_family_that_begins_from_no_picture_says_so(recipe: Recipe, tmp_path: Path) -> None:
    tiny("PixArt-sigma").save_pretrained(tmp_path)
    generation = recipe.generation.model_copy(update={"scheduler": "own"})
    other = recipe.model_copy(update={"base": str(tmp_path), "generation": generation})
    for endpoint in open_endpoint(other, limits=UPLOADS):
        with pytest.raises(BadRequestError, match="image: got one, allowed is none: PixArt"):
            edit(endpoint)
