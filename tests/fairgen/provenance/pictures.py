"""Pictures with records, and credentials to sign them with."""

import datetime
from pathlib import Path

import numpy
from PIL import Image
from pydantic import BaseModel

from fairgen.provenance import CredentialFiles, Credentials, OutputFormat, write_test_chain

_LONG = datetime.timedelta(days=9)
FORMATS: tuple[OutputFormat, ...] = ("png", "webp", "jpeg")


class Record(BaseModel):
    """A record such as the endpoint and the library write."""

    prompt: str
    seed: int = 2**53 + 1
    categories: dict[str, str] = {"gender": "woman"}
    guidance_scale: float = 3.0
    negative_prompt: str | None = None


def picture(side_px: int = 64) -> Image.Image:
    """Return a picture with edges, slopes and grain."""
    grain = numpy.random.default_rng(0).integers(0, 24, (side_px, side_px, 3))
    slope = numpy.linspace(0, 160, side_px)[:, None, None]
    return Image.fromarray((grain + slope + 40).astype(numpy.uint8))


def credentials(folder: Path, holds: datetime.timedelta = _LONG) -> Credentials:
    """Return the credentials of a new test chain."""
    files = write_test_chain(folder, holds)
    return Credentials.read(CredentialFiles(chain=files.chain, key=files.key))
