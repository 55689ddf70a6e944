"""What signing and marking cost a picture, and what of both is left after what happens to it."""

import datetime
import io
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy
from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.provenance import (
    CredentialFiles,
    Credentials,
    Inspection,
    OutputFormat,
    encode,
    find_mark,
    inspect_file,
    marked,
    write_test_chain,
)
from pipelines.benchmarks.memory_estimate import markdown_table
from pipelines.files import write

FORMATS: tuple[OutputFormat, ...] = ("png", "webp", "jpeg")
SIDES_PX = 64, 512, 1024
_MARKED_PX, _REPEATS, _SEED = (256, 512), 5, 7
_PROMPTS = tuple(f"a photo of a {name}" for name in ("doctor", "nurse", "judge", "chef"))


class Cost(BaseModel):
    """What a file of a form and a size takes, in milliseconds and bytes: `encode` without signature
    and mark, `sign` and `mark` what each adds. `mark_ms` is None where pictures are too small.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: OutputFormat
    side_px: int
    encode_ms: float
    sign_ms: float
    mark_ms: float | None
    encode_bytes: int
    sign_bytes: int


class Detection(BaseModel):
    """Of how many pictures the mark was found after a treatment; "unmarked" are those without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    side_px: int
    treatment: str
    found: int
    total: int


class Survival(BaseModel):
    """What of a file is left after a treatment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    treatment: str
    signature: bool
    digital_source_type: bool
    record: bool
    mark: bool


class ProvenanceFigures(BaseModel):
    """Costs by form and size, rates of detection by size and treatment, and what is left of a file;
    `psnr` is how near marked pictures are to the same without, in dB, by size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    costs: list[Cost]
    psnr: dict[int, float]
    detections: list[Detection]
    survivals: list[Survival]


class _Record(BaseModel):
    """A record of the length that the endpoint's have."""

    model: str = "portraits"
    prompt: str = _PROMPTS[0]
    seed: int = _SEED
    categories: dict[str, str] = {"gender": "woman", "skin": "brown", "age": "old"}
    adapters: tuple[str, ...] = ("0123456789abcdef" * 5,) * 3
    gate: str = "act " * 60


def measure_provenance(pictures: Sequence[Image.Image], out: Path) -> ProvenanceFigures:
    """Measure on pictures, each scaled to every size, and write the figures as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_test_chain(Path(folder), datetime.timedelta(days=1))
        credentials = Credentials.read(CredentialFiles(chain=files.chain, key=files.key))
        costs = [
            _cost(_scaled(pictures[0], side), output_format, credentials)
            for output_format in FORMATS
            for side in SIDES_PX
        ]
        survivals = _survivals(_scaled(pictures[0], 512), credentials, Path(folder))
    psnr, detections = {}, list[Detection]()
    for side in _MARKED_PX:
        plain = [_scaled(picture, side) for picture in pictures]
        made = [marked(picture) for picture in plain]
        psnr[side] = float(numpy.mean([_psnr(*pair) for pair in zip(plain, made, strict=True)]))
        detections.append(_detection(side, "unmarked", plain))
        for name, treat in TREATMENTS.items():
            detections.append(_detection(side, name, (treat(picture) for picture in made)))
    figures = ProvenanceFigures(costs=costs, psnr=psnr, detections=detections, survivals=survivals)
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, figures.model_dump_json(indent=1) + "\n")
    return figures


def provenance_tables(figures: ProvenanceFigures) -> str:
    """Return the figures as the tables of the docs: costs, what is left of a file, detection."""
    costs = markdown_table(
        ("file", "encode, ms", "sign, ms", "mark, ms", "bytes", "bytes of the signature"),
        (
            (
                f"{cost.format} {cost.side_px} x {cost.side_px}",
                f"{cost.encode_ms:.1f}",
                f"{cost.sign_ms:.1f}",
                "-" if cost.mark_ms is None else f"{cost.mark_ms:.0f}",
                f"{cost.encode_bytes:,}",
                f"{cost.sign_bytes:,}",
            )
            for cost in figures.costs
        ),
    )
    left = markdown_table(
        ("what happens to a file", "signature", "IPTC's word", "record", "mark"),
        (
            (
                one.treatment,
                *(
                    "holds" if is_there else "gone"
                    for is_there in (one.signature, one.digital_source_type, one.record, one.mark)
                ),
            )
            for one in figures.survivals
        ),
    )
    by_treatment: dict[str, list[str]] = {}
    for one in figures.detections:
        by_treatment.setdefault(one.treatment, []).append(f"{one.found} of {one.total}")
    sizes = (f"{side} pixels, PSNR {value:.1f} dB" for side, value in figures.psnr.items())
    detections = markdown_table(
        ("mark found in pictures of", *sizes),
        ((treatment, *found) for treatment, found in by_treatment.items()),
    )
    return "\n".join((costs, left, detections))


def embedded_pictures(num_images: int = 24) -> list[Image.Image]:
    """Return pictures of the embedded base model."""
    import torch
    from diffusers import DiffusionPipeline

    from fairgen.portraits import MODEL

    pipe = DiffusionPipeline.from_pretrained(MODEL)
    pipe.set_progress_bar_config(disable=True)
    each = num_images // len(_PROMPTS)
    return [
        image
        for index, prompt in enumerate(_PROMPTS)
        for image in pipe(
            [prompt] * each,
            num_inference_steps=12,
            generator=[
                torch.Generator().manual_seed(_SEED + each * index + n) for n in range(each)
            ],
        ).images
    ]


def read_pictures(folder: Path) -> list[Image.Image]:
    """Return the pictures of a folder. Raises ValueError where there are none."""
    paths = [path for path in sorted(folder.iterdir()) if path.suffix in (".png", ".jpg", ".webp")]
    if not paths:
        raise ValueError(f"pictures: got {folder} without .png, .jpg and .webp files")
    return [Image.open(path).convert("RGB") for path in paths]


def _jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=75)
    return Image.open(buffer).convert("RGB")


def _halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def _halved_and_back(image: Image.Image) -> Image.Image:
    return _halved(image).resize(image.size, Image.Resampling.BICUBIC)


def _cropped(image: Image.Image) -> Image.Image:
    """Return a picture without a tenth of its width and height."""
    left, top = round(0.03 * image.width), round(0.07 * image.height)
    right, bottom = left + round(0.9 * image.width), top + round(0.9 * image.height)
    return image.crop((left, top, right, bottom))


TREATMENTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "untouched": lambda image: image,
    "JPEG at 75": _jpeg,
    "halved": _halved,
    "halved and back": _halved_and_back,
    "a tenth of each side cropped": _cropped,
    "all of it": lambda image: _jpeg(_cropped(_halved_and_back(image))),
}


def _scaled(image: Image.Image, side_px: int) -> Image.Image:
    """Return the middle square of a picture at a size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.convert("RGB").crop((left, top, left + side, top + side))
    return square.resize((side_px, side_px), Image.Resampling.BICUBIC)


def _cost(image: Image.Image, output_format: OutputFormat, credentials: Credentials) -> Cost:
    record = _Record()
    plain = encode(image, output_format, record)
    signed = encode(image, output_format, record, credentials=credentials)
    encode_s = _seconds(lambda: encode(image, output_format, record))
    media_type, said = f"image/{output_format}", record.model_dump(mode="json")
    sign_s = _seconds(lambda: credentials.sign(plain, media_type, said, False))
    mark_s = _seconds(lambda: marked(image)) if image.width >= min(_MARKED_PX) else None
    return Cost(
        format=output_format,
        side_px=image.width,
        encode_ms=1000 * encode_s,
        sign_ms=1000 * sign_s,
        mark_ms=None if mark_s is None else 1000 * mark_s,
        encode_bytes=len(plain),
        sign_bytes=len(signed) - len(plain),
    )


def _seconds(call: Callable[[], object]) -> float:
    call()
    taken = []
    for _ in range(_REPEATS):
        begun = perf_counter()
        call()
        taken.append(perf_counter() - begun)
    return median(taken)


def _psnr(one: Image.Image, other: Image.Image) -> float:
    apart = numpy.asarray(one, dtype=float) - numpy.asarray(other, dtype=float)
    return float(10 * numpy.log10(255**2 / numpy.mean(apart**2)))


def _detection(side_px: int, treatment: str, pictures: Iterable[Image.Image]) -> Detection:
    found = [find_mark(picture) is not None for picture in pictures]
    return Detection(side_px=side_px, treatment=treatment, found=sum(found), total=len(found))


def _survivals(image: Image.Image, credentials: Credentials, folder: Path) -> list[Survival]:
    """Return what is left of a signed and marked JPEG file after what programs do to files."""
    content = encode(image, "jpeg", _Record(), credentials=credentials, mark=True)
    with Image.open(io.BytesIO(content)) as opened:
        said = {"exif": opened.getexif(), "xmp": opened.info["xmp"]}
        pixels = opened.convert("RGB")
    treated = {
        "copied, moved, renamed": content,
        "saved again, its metadata kept": _saved(pixels, **said),
        "saved again, its metadata stripped": _saved(pixels),
        "saved as PNG, its metadata stripped": _saved(pixels, "PNG"),
        "halved, its metadata kept": _saved(_halved(pixels), **said),
        "a tenth of each side cropped, stripped": _saved(_cropped(pixels)),
    }
    survivals = []
    for name, file in treated.items():
        path = folder / "treated"
        path.write_bytes(file)
        survivals.append(_survival(name, inspect_file(path)))
    return survivals


def _survival(treatment: str, found: Inspection) -> Survival:
    return Survival(
        treatment=treatment,
        signature=found.signature is not None and found.is_consistent,
        digital_source_type=found.digital_source_type is not None,
        record=found.record is not None,
        mark=found.mark is not None,
    )


def _saved(image: Image.Image, form: str = "JPEG", **said: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, quality=85, **said)
    return buffer.getvalue()
