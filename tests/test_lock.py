"""The lock files hold all that set-up installs, each version once, each file by its hash."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
GROUPS = ("serve", "dev", "torch", "quantization", "faces")
CLIENTS = sorted((ROOT / "tests/clients/python").glob("*.txt"))
PYTHONS = ("3.11", "3.12", "3.13")


def locked(path: Path) -> dict[str, tuple[Version, str, int]]:
    """Return name -> version, marker, and how many hashes it has; fail on any other line."""
    found: dict[str, tuple[Version, str, int]] = {}
    for entry in re.split(r"\n(?! )", path.read_text().rstrip()):
        if entry.startswith("#"):
            continue
        head, *hashes = entry.split(" \\\n    --hash=sha256:")
        assert hashes and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in hashes), head
        pin = Requirement(head)
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and pin.name == canonicalize_name(pin.name), head
        assert pin.name not in found, f"{pin.name} is locked twice in {path.name}"
        found[pin.name] = Version(specifier.version), str(pin.marker or ""), len(hashes)
    return found


LOCKS = {group: locked(ROOT / f"requirements/{group}.lock") for group in GROUPS}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]


def wanted(*extras: str) -> set[Requirement]:
    """Return the requirements of the project with `extras`, and with those that they name."""
    found = {Requirement(text) for text in PROJECT["project"]["dependencies"]}
    for extra in extras:
        for requirement in map(Requirement, EXTRAS[extra]):
            found |= wanted(*requirement.extras) if requirement.name == "fairgen" else {requirement}
    return found


def applies(marker: str, python: str) -> bool:
    environment = {"sys_platform": "linux", "platform_machine": "x86_64", "os_name": "posix"}
    versions = {"python_version": python, "python_full_version": f"{python}.9"}
    return not marker or Marker(marker).evaluate({**environment, **versions})


@pytest.mark.parametrize(
    ("extras", "groups"),
    [
        (("serve", "registry"), ("serve", "torch")),
        (("dev",), ("serve", "dev", "torch")),
        (("quantization",), ("serve", "torch", "quantization")),
        (("faces",), ("serve", "torch", "faces")),
        (tuple(EXTRAS), GROUPS),
    ],
)
def test_what_the_project_needs_is_locked_at_a_version_that_it_takes(
    extras: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    pins = {name: pin for group in groups for name, pin in LOCKS[group].items()}
    for requirement in wanted(*extras) | set(map(Requirement, PROJECT["build-system"]["requires"])):
        version, marker, _ = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} has {version}"
        assert all(applies(marker, python) for python in PYTHONS), requirement


def test_no_package_is_locked_in_two_files() -> None:
    names = [name for lock in LOCKS.values() for name in lock]
    assert sorted(names) == sorted(set(names))


def test_every_package_that_is_installed_finds_what_it_needs_where_it_is_locked() -> None:
    group_of = {name: group for group, lock in LOCKS.items() for name in lock}
    seen = 0
    for distribution in distributions():
        name = canonicalize_name(distribution.metadata["Name"])
        group = group_of.get(name)
        if group is None or Version(distribution.version).public != str(LOCKS[group][name][0]):
            continue
        seen += 1
        for requirement in map(Requirement, distribution.requires or ()):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            needed = canonicalize_name(requirement.name)
            # the image has no tests, and what CUDA alone wants is not there without a GPU
            allowed = {"serve", "dev"} if group == "dev" else {"serve"}
            allowed |= {"torch"} if needed == "torch" or group == "torch" else set()
            assert group_of.get(needed) in allowed, f"{name} needs {needed}"
            version, _, _ = LOCKS[group_of[needed]][needed]
            assert requirement.specifier.contains(version, prereleases=True), requirement
    assert seen > 100


def test_what_cuda_alone_wants_stands_apart() -> None:
    assert "torch" in LOCKS["torch"] and len(LOCKS["torch"]) > 1
    for group in ("serve", "dev", "quantization"):
        assert not [name for name in LOCKS[group] if re.match("torch$|triton|nvidia|cuda", name)]


@pytest.mark.parametrize("path", CLIENTS, ids=lambda path: path.stem)
def test_every_client_s_requirements_are_locked(path: Path) -> None:
    pins = locked(path.with_suffix(".lock"))
    for line in path.read_text().splitlines():
        requirement = Requirement(line.partition("#")[0].strip())
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)][0])


@pytest.mark.parametrize("file", ["Makefile", "cluster/Dockerfile"])
def test_all_but_three_packages_are_installed_by_hash_and_none_with_dependencies(file: str) -> None:
    text = (ROOT / file).read_text().replace("\\\n", "")
    text = re.sub(r"^(PIP|LOCKED) := .*\n", "", text, flags=re.MULTILINE)
    lines = [
        line for line in text.splitlines() if re.search(r"pip install|\$\((PIP|LOCKED)\)", line)
    ]
    assert lines
    for line in lines:
        by_hash = "$(LOCKED)" in line or "--require-hashes" in line
        assert by_hash or re.search(r"\+cpu|-e \.|uv==", line), line
        assert "$(LOCKED)" in line or "--no-deps" in line, line


def test_what_is_installed_by_hash_brings_no_dependencies_and_is_not_built() -> None:
    (rule,) = re.findall(r"^LOCKED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(rule.split())


def test_a_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "small-1.0-py3-none-any.whl"
    package.write_bytes(b"")
    lock = tmp_path / "changed.lock"
    lock.write_text(f"small==1.0 --hash=sha256:{'0' * 64}\n")
    options = ["--require-hashes", "--isolated", "--no-index", "--find-links", str(tmp_path)]
    command = [sys.executable, "-m", "pip", "install", *options, "--no-deps", "-r", str(lock)]
    done = subprocess.run([*command, "--dry-run"], capture_output=True, text=True)
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_a_python_that_nothing_is_locked_for_is_refused_before_set_up(
    version: str, tmp_path: Path
) -> None:
    """It takes minutes and gigabytes, and would fail at its end."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    python = tmp_path / "python"
    minor = version.split(".")[1]
    python.write_text(
        f"""#!{sys.executable}
import sys
if sys.argv[1] == "--version":
    print("Python {version}.1")
else:
    sys.version_info = (3, {minor}, 1)
    exec(sys.argv[2])
"""
    )
    python.chmod(0o755)
    made = subprocess.run(
        ["make", "setup", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert made.returncode != 0 and not (tmp_path / ".venv").exists()
    assert f"got Python {version}.1, allowed are 3.11 to 3.13" in made.stdout


def test_the_pythons_are_those_of_the_package() -> None:
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    assert [f"3.{minor}" for minor in range(8, 20) if f"3.{minor}.1" in allowed] == list(PYTHONS)
