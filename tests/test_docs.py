"""The documentation names files, functions, tests, configurations and options that exist."""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click
import pytest

from lrjax import _HOMES
from lrjax.cli.main import cli
from lrjax.cli.prepare import datasets
from lrjax.config import override
from lrjax.errors import InputError
from lrjax.experiments import runner
from lrjax.models import registry
from lrjax.tasks import runs

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# READMEs that pages show are read where they lie.
FILES = [
    ROOT / "README.md",
    ROOT / "lrjax/pretrained/README.md",
    *sorted((ROOT / "tfds_builders").glob("*/README.md")),
    *PAGES,
]
FOLDERS = "lrjax|configs|experiments|tfds_builders|tests|docs"


every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
every_page = pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of a language."""
    return re.findall(rf"^ *```{language}[^\n]*\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    """What stands outside of fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """Code within prose, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    cleaned = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading) for heading in cleaned}


def defined(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """Names that statements define."""
    found: dict[str, ast.stmt] = {}
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found


def exists(dotted: str) -> bool:
    """Whether a module, or what is in one, has this name; without importing it."""
    parts = dotted.split(".")
    if dotted.startswith("lrjax.") and parts[1] in _HOMES:
        return len(parts) == 2
    for end in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:end])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if file.is_file():
            body = ast.parse(file.read_text()).body
            for part in parts[end:]:
                node = defined(body).get(part)
                if node is None:
                    return False
                body = getattr(node, "body", [])
            return True
    return False


@every_file
def test_links_lead_to_files_and_headings(file: Path) -> None:
    text = prose(file.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (file.parent / path).resolve() if path else file
        assert page.exists(), target
        # The site holds what is in docs/ alone.
        assert file not in PAGES or page.is_relative_to(DOCS), target
        assert not anchor or anchor in anchors(page), target


def shown(page: Path) -> list[str]:
    """Files that a page shows a copy of."""
    pairs = re.findall(r'--8<-- "([^"]+)"|--8<--\n([^"]+?)\n--8<--', page.read_text())
    return [one or other for one, other in pairs]


@every_page
def test_what_pages_show_is_there(file: Path) -> None:
    for path in shown(file):
        assert (ROOT / path).is_file(), path


def test_every_example_is_shown() -> None:
    examples = (DOCS / "examples").rglob("*.py")
    assert sorted(shown(DOCS / "extending.md")) == sorted(
        str(e.relative_to(ROOT)) for e in examples
    )


@every_file
def test_names_of_code_are_those_of_code(file: Path) -> None:
    text = file.read_text()
    names = re.findall(r"\[[^]\n]+\]\[(lrjax[\w.]*)\]", text)
    names += re.findall(r"\[`?(lrjax[\w.]+)`?\]\[\]", text)
    names += re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    names += [span for span in spans(text) if re.fullmatch(r"lrjax(\.\w+)+", span)]
    for dotted in names:
        assert exists(dotted), dotted


@every_file
def test_files_that_are_named_are_there(file: Path) -> None:
    for span in spans(file.read_text()):
        if re.fullmatch(rf"(?:{FOLDERS})/[\w/.-]*(?:::\w+)?", span):
            path, _, function = span.partition("::")
            assert (ROOT / path).exists(), span
            if function:
                assert function in defined(ast.parse((ROOT / path).read_text()).body), span


def test_names_that_are_not_there_are_noticed() -> None:
    assert exists("lrjax.training.state.State.create")
    assert exists("lrjax.tfds_builders.common.faces")
    assert exists("lrjax.predict")
    assert not exists("lrjax.training.state.State.destroy")
    assert not exists("lrjax.training.states")
    assert not exists("lrjax.predictions")
    with pytest.raises(click.NoSuchOption):
        parse("lrjax predict --images a --out b --boxs c")


def test_every_page_is_in_the_navigation() -> None:
    def paths(node: object) -> Iterator[str]:
        if isinstance(node, str):
            yield node
        else:
            for child in node.values() if isinstance(node, dict) else node:
                yield from paths(child)

    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    assert sorted(paths(nav)) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_every_dataset_is_described() -> None:
    page = (DOCS / "datasets.md").read_text()
    for dataset in datasets():
        assert f"\n## {dataset}\n" in page
        assert f"tfds_builders/{dataset}/README.md" in shown(DOCS / "datasets.md")


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what commands name that must be there before they begin."""
    shutil.copytree(DOCS / "examples", tmp_path, dirs_exist_ok=True)
    (tmp_path / "mobilefacenet.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runs, "TASKS", dict(runs.TASKS))
    monkeypatch.setattr(registry, "NETWORKS", dict(registry.NETWORKS))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_networks", raising=False)
    return tmp_path


def parse(line: str) -> click.Context | None:
    """Read the words of a command as click does, running nothing; None if it asks for help."""
    words = shlex.split(line, comments=True)[1:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click.Command, "invoke", lambda self, context: context)
        found = cli.main(words, "lrjax", standalone_mode=False)
    return found if isinstance(found, click.Context) else None


def check(line: str) -> None:
    """Check that a command can be read, and that what it names by name is there."""
    context = parse(line)
    if context is None:
        return
    given, command = context.params, context.command.name
    names = [*given.get("names", ()), given.get("name")]
    for name in names:
        if name in (None, "NAME"):  # which stands for any
            continue
        if command in ("train", "config"):
            override(runs.find_config(name), given["settings"])
        if command == "prepare":
            assert name in datasets() or Path(name).is_dir(), name
        if command == "experiment":
            assert name in runner.names() or Path(name.partition(":")[0]).is_file(), name


@every_file
@pytest.mark.usefixtures("examples")
def test_commands_are_understood(file: Path) -> None:
    text = file.read_text()
    for block in blocks(text, "bash"):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            for command in (list(part) for key, part in groupby(words, "&&".__ne__) if key):
                if Path(command[0]).name == "lrjax":
                    check(shlex.join(command))
    for span in spans(text):
        if re.match(r"lrjax [a-z-]", span) and span.isascii():
            # As far as it goes, in the middle of a sentence: it may end with an option.
            with contextlib.suppress(click.MissingParameter, click.BadOptionUsage):
                check(span)


@every_file
def test_configurations_that_are_named_exist(file: Path) -> None:
    kinds = "|".join(runs.config_names())
    for span in spans(file.read_text()):
        if re.fullmatch(rf"(?:{kinds}):[\w-]+", span):
            runs.find_config(span)


def test_a_made_up_field_is_noticed() -> None:
    with pytest.raises(InputError, match="names no field"):
        check("lrjax train landmarks:s4 --set gamma_k=1")
