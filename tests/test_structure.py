"""The house: who imports whom, and that no import is hidden or goes in a circle."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Each imports from those before it, and within itself.
FLOORS = (
    ("errors", "files", "config", "rng", "geometry"),
    ("losses", "evaluation", "models"),
    ("convert", "data", "inference"),
    ("training",),
    ("tasks",),
    ("report", "web", "annotate", "demo", "benchmark"),
    ("configs", "experiments"),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
BUILDERS_MAY = {"lrjax.geometry.points", "lrjax.errors", "lrjax.files"}


def modules() -> dict[str, Path]:
    """Dotted name -> file, of the package and of the folders that are installed into it."""
    files = [*(ROOT / "lrjax").rglob("*.py")]
    for folder in ("configs", "experiments", "tfds_builders"):
        files += (ROOT / folder).rglob("*.py")
    found = {}
    for file in files:
        parts = list(file.relative_to(ROOT).with_suffix("").parts)
        parts = parts if parts[0] == "lrjax" else ["lrjax", *parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


def imports(name: str, everywhere: bool = True) -> set[str]:
    """The modules of ours that a module imports; `everywhere`: in functions, too."""
    tree = ast.parse(MODULES[name].read_text())
    nodes = ast.walk(tree) if everywhere else iter(tree.body)
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *([base] if base else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in MODULES else base)
    return {one for one in found if one in MODULES and one not in ("lrjax", name)}


def floor(name: str) -> int | None:
    parts = name.split(".")
    return LEVEL.get(parts[1]) if len(parts) > 1 else None


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_look_downwards_and_in_the_open(name: str) -> None:
    source = MODULES[name].read_text()
    assert "TYPE_CHECKING" not in source
    if ".tfds_builders" in name:
        outside = {one for one in imports(name) if not one.startswith("lrjax.tfds_builders")}
        assert outside <= BUILDERS_MAY
        return
    own = floor(name)
    if own is None:  # lrjax itself, which imports nothing of ours before it is asked to
        return
    above = {one for one in imports(name) if (floor(one) or 0) > own}
    assert not above, f"{name} imports from above: {sorted(above)}"


def test_every_folder_has_a_floor() -> None:
    folders = {name.split(".")[1] for name in MODULES if name != "lrjax"}
    assert folders - {"tfds_builders", "__main__"} == set(LEVEL) & folders


def test_imports_go_in_no_circle() -> None:
    graph = {name: imports(name) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for other in sorted(graph[name]):
            # A package's own list of its modules is no idea of the modules'.
            if not name.startswith(f"{other}."):
                visit(other, (*path, name))
        done.add(name)

    for name in sorted(graph):
        visit(name, ())
