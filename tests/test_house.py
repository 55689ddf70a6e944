"""Imports run one way: no circle between files, no arrow up between rooms, nothing taken past a
room's `__all__`.

A room is a folder of `fairgen/` or `pipelines/`, or a file beside the folders; the stub beside a
folder's `__init__.py` says where its names come from. Imports inside functions count, those for
types alone as well.
"""

import ast
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
# from the ground up: a room may import those before it
FLOORS = {
    "fairgen": (
        "attributes", "gate", "files", "pictures", "provenance", "indicator", "ledger",
        "calibration", "sampling", "solvers", "guidance", "gradients", "bank",
        "base_model", "adapters",
        "backbones", "passes", "discovery", "engine", "exchange", "pipeline", "portraits",
        "judging", "baselines",
    ),
    "pipelines": (
        "recipe", "files", "ray_runtime", "evaluation", "registry", "training", "serve",
        "generate", "experiments", "benchmarks", "cli",
    ),
}  # fmt: skip
MOST_FILES = {"fairgen": 14, "pipelines": 2}
MOST_LINES, MOST_METHODS = 400, 15


@dataclass(frozen=True)
class Import:
    """A name that a file takes from a module of the project; `name` is empty for the module."""

    importer: str
    line: int
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module} {self.name}".rstrip()


def files_of(package: str) -> dict[str, Path]:
    """Return dotted name -> file."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


FILES = {name: path for package in FLOORS for name, path in files_of(package).items()}


def face_of(folder: str) -> dict[str, str]:
    """Return name -> module of what a folder's stub takes from its files."""
    stub = FILES[folder].with_suffix(".pyi")
    nodes = ast.walk(ast.parse(stub.read_text()))
    return {
        alias.name: f"{folder}.{node.module}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


ROOMS = {
    name
    for name, path in FILES.items()
    if path.name == "__init__.py" and name.count(".") == 1 and name != "pipelines.cli"
}
FACES = {name: face_of(name) for name in (*ROOMS, "fairgen")}


def owner_of(module: str, name: str) -> str:
    """Return the file that a name comes from which is taken from a module."""
    while name in FACES.get(module, {}):
        module = FACES[module][name]
    return module


def imports_of(name: str) -> Iterator[Import]:
    """Yield what a file imports of the project."""
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{name}:{node.lineno} imports relatively"
            for alias in node.names:
                if node.module.split(".")[0] in FLOORS:
                    inner = f"{node.module}.{alias.name}"
                    module, taken = (inner, "") if inner in FILES else (node.module, alias.name)
                    yield Import(name, node.lineno, module, taken)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in FLOORS:
                    yield Import(name, node.lineno, alias.name, "")


IMPORTS = [found for name in FILES for found in imports_of(name)]


def room_of(module: str) -> tuple[str, str]:
    """Return the package and the room of a module; the package's own face has no room."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(name) for name in FILES} - {(package, "") for package in FLOORS}
    assert rooms <= {(package, room) for package, floors in FLOORS.items() for room in floors}


def test_no_files_import_each_other_in_a_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for found in IMPORTS:
        graph[found.importer].add(owner_of(found.module, found.name))
    for package in FLOORS:  # the public face imports from everywhere, and nobody imports it
        assert all(package not in modules for modules in graph.values())
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_arrow_runs_up() -> None:
    upward = []
    for found in IMPORTS:
        (package, room), (other, used) = room_of(found.importer), room_of(found.module)
        if room and package == other and room != used:
            floors = FLOORS[package]
            if floors.index(used) > floors.index(room):
                upward.append(str(found))
        elif package == "fairgen" and other == "pipelines":
            upward.append(str(found))
    assert upward == []


def test_rooms_take_from_each_other_what_their_faces_name() -> None:
    """Of a folder what its `__all__` names, of a file what has no underscore."""
    past = []
    for found in IMPORTS:
        package, room = room_of(found.module)
        if room and room_of(found.importer) != (package, room):
            folder = f"{package}.{room}"
            named = not found.name.startswith("_")
            if folder in ROOMS:
                taken = found.name in FACES[folder] if found.name else True
                named = found.module == folder and taken
            if not named:
                past.append(str(found))
    assert past == []


@pytest.mark.parametrize("folder", sorted(FACES))
def test_every_name_of_a_face_is_there_and_is_no_file(folder: str) -> None:
    module = importlib.import_module(folder)
    assert set(module.__all__) - {"__version__"} == set(FACES[folder])
    for name in module.__all__:
        assert not name.startswith("_") or name == "__version__"
        assert not isinstance(getattr(module, name), ModuleType), f"{name} is a file, too"


@pytest.mark.parametrize("package", FLOORS)
def test_few_files_stand_beside_the_folders(package: str) -> None:
    beside = [path for path in (ROOT / package).glob("*.py") if path.stem != "__init__"]
    assert len(beside) <= MOST_FILES[package]


def test_every_folder_says_in_a_sentence_what_it_is() -> None:
    for name, path in FILES.items():
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), name


def test_no_file_and_no_class_outgrows_its_idea() -> None:
    large = [
        name for name, path in FILES.items() if len(path.read_text().splitlines()) > MOST_LINES
    ]
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                methods = [
                    n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
                ]
                if len(methods) > MOST_METHODS:
                    large.append(f"{name}.{node.name}")
    assert large == []


def test_the_tests_of_a_room_stand_in_a_folder_of_its_name() -> None:
    folders = {path.name for package in FLOORS for path in (ROOT / "tests" / package).iterdir()}
    rooms = {
        room for package, room in map(room_of, FILES) if (ROOT / package / room).is_dir() and room
    }
    for room in sorted(rooms - {"experiments"}):
        assert room in folders, f"{room} has no tests of its own"


OLD_WORDS = {
    "told", "foreseen", "company", "in_company", "company_share", "company_waves", "own_paths",
    "oppose", "turnstile", "Turnstile", "KeyRing", "Tally", "Guard", "Desk", "Order", "Delivery",
    "Studio", "Pupil", "Pupils", "Painter", "Lesson", "Lessons", "Contender", "Card", "Held",
    "Trial", "Board", "PostToBoard", "Ticket", "Painted", "Failed", "Picture", "Mix", "KeptSets",
    "impatient", "be_patient", "spelt_out", "shipped", "rivals", "measuring", "place",
}  # fmt: skip


def test_old_words_are_gone_from_the_code() -> None:
    """One word, one meaning: the field's terms stand in their place."""
    left = []
    for name, path in FILES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            used = {
                ast.Name: lambda n: n.id,
                ast.Attribute: lambda n: n.attr,
                ast.arg: lambda n: n.arg,
                ast.FunctionDef: lambda n: n.name,
                ast.ClassDef: lambda n: n.name,
                ast.keyword: lambda n: n.arg,
            }.get(type(node))
            if used and used(node) in OLD_WORDS:
                left.append(f"{name}:{getattr(node, 'lineno', 0)} {used(node)}")
    assert left == []
