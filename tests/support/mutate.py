"""Change the code by a little, many times over, and count how often its tests notice.

    pip install -e ".[test,mutation]"
    python tests/support/mutate.py [--sample N] [--seed S] [--out FILE] [FOLDER_OR_FILE ...]

Cosmic Ray makes the changes (mutants), one at a time, in a copy of the repository; each module's
are tried against the tests in TESTS alone, which stop at the first failure. Results are appended to
FILE, a JSON object a line; mutants that are in it already are not tried again.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[2]
PATHS = (
    "lrjax/losses",
    "lrjax/training/step.py",
    "lrjax/geometry",
    "lrjax/evaluation",
    "lrjax/tasks",
)
EQUATIONS = "tests/tasks/test_losses.py"
# Folder or module -> tests beside its own, tests/FOLDER/test_MODULE.py; the longest name counts.
TESTS = {
    "lrjax/losses": (EQUATIONS,),
    "lrjax/training/step.py": ("tests/training/test_state.py", "tests/training/test_loop.py"),
    "lrjax/geometry": (),
    "lrjax/evaluation": (),
    "lrjax/evaluation/ranking.py": ("tests/evaluation/test_identification.py",),
    "lrjax/evaluation/scores.py": ("tests/evaluation/test_identification.py",),
    "lrjax/tasks": (EQUATIONS,),
    "lrjax/tasks/data.py": ("tests/tasks/test_recognition.py", "tests/tasks/test_runs.py"),
    "lrjax/tasks/landmark_crops.py": (EQUATIONS, "tests/tasks/test_landmarks.py"),
    "lrjax/tasks/measure.py": (),
    "lrjax/tasks/measure_small.py": ("tests/tasks/test_measure.py",),
    "lrjax/tasks/run_folder.py": ("tests/tasks/test_runs.py",),
    "lrjax/tasks/runs.py": (),
}
# Cosmic Ray's other changes end in a TypeError or change nothing: `|` of floats, `==` to `is`.
SIGNS, BITS = "(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)", "(BitOr|BitAnd|BitXor)"
ORDERS = "(Eq|NotEq|Lt|LtE|Gt|GtE)"
OPERATORS = re.compile(
    rf"core/(ReplaceBinaryOperator_({SIGNS}_{SIGNS}|{BITS}_{BITS})"
    rf"|ReplaceComparisonOperator_({ORDERS}_{ORDERS}|Is_IsNot|IsNot_Is)"
    r"|ReplaceUnaryOperator_Delete_\w+|ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr"
    r"|ReplaceOrWithAnd|ReplaceBreakWithContinue|ReplaceContinueWithBreak|AddNot|ExceptionReplacer"
    r"|NumberReplacer|ZeroIterationForLoop)"
)
LIBRARIES = ("jax.numpy", "flax.linen", "optax", "orbax.checkpoint", "tensorflow_datasets")


def main() -> None:
    """Try a sample, list what survives, and say which share was caught."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", default=PATHS)
    parser.add_argument("--sample", type=int, help="mutants of each path; all of them unless given")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for a mutant's tests")
    parser.add_argument("--out", type=Path, default=Path("runs/mutants.jsonl"), help="the results")
    options = parser.parse_args()

    out = options.out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    known = {}
    if out.exists():
        known = {row["mutant"]: row for row in map(json.loads, out.read_text().splitlines())}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "repository")
        left_out = shutil.ignore_patterns(".git", ".venv", "runs", "*_cache", "__pycache__")
        shutil.copytree(ROOT, copy, symlinks=True, ignore=left_out)
        os.chdir(copy)
        # Programs that a mutant leaves alone are compiled once, and libraries imported once.
        os.environ["PYTHONPATH"] = str(copy)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", f"{folder}/programs")
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        for library in LIBRARIES:
            importlib.import_module(library)
        for path in options.paths:
            chosen = sampled(path, options.sample, options.seed, Path(folder, "session.sqlite"))
            for number, mutant in enumerate(chosen, 1):
                name = identity(mutant)
                if name not in known:
                    known[name] = {"mutant": name} | tried(mutant, options.timeout)
                    with out.open("a") as file:
                        file.write(json.dumps(known[name]) + "\n")
                print(f"{number}/{len(chosen)} {name} {known[name]['outcome']}", flush=True)
            check_tests(chosen, known)
            report(path, [known[identity(mutant)] for mutant in chosen])


def sampled(path: str, count: int | None, seed: int, session: Path) -> list[MutationSpec]:
    """Draw `count` of the mutants of a file, or of all files of a folder, in the order drawn."""
    files = [Path(path)] if path.endswith(".py") else sorted(Path(path).glob("*.py"))
    with use_db(str(session), WorkDB.Mode.create) as db:
        init(files, db, {})
        mutants = [mutant for item in db.work_items for mutant in item.mutations]
    silent = {str(file): list(unread(file)) for file in files}
    mutants = [
        mutant
        for mutant in mutants
        if OPERATORS.fullmatch(mutant.operator_name)
        and not any(a <= mutant.start_pos < b for a, b in silent[str(mutant.module_path)])
    ]
    mutants.sort(key=identity)
    random.Random(seed).shuffle(mutants)
    return mutants[:count]


def unread(file: Path) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield from where to where (line, column) annotations and decorators stand."""
    for node in ast.walk(ast.parse(file.read_text())):
        annotations = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for part in [*annotations, *getattr(node, "decorator_list", [])]:
            if part is not None:
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def identity(mutant: MutationSpec) -> str:
    line, column = mutant.start_pos
    operator = mutant.operator_name.removeprefix("core/")
    return f"{mutant.module_path}:{line}:{column} {operator} {mutant.occurrence}"


def tests_of(module: Path) -> list[str]:
    """List the files of tests for a module, its own first."""
    own = Path("tests", *module.parts[1:-1], f"test_{module.name}")
    beside = max((path for path in TESTS if str(module).startswith(path)), key=len)
    return list(dict.fromkeys([*([str(own)] if own.exists() else []), *TESTS[beside]]))


def tried(mutant: MutationSpec, timeout: float) -> dict[str, str]:
    """Run the module's tests on the mutant: what came of it, the first failure, and the change."""
    operator = get_operator(mutant.operator_name)()
    with use_mutation(Path(mutant.module_path), operator, mutant.occurrence) as (before, after):
        outcome, output = run(tests_of(Path(mutant.module_path)), timeout)
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
    return {
        "outcome": {0: "survived", 1: "caught", 2: "caught", None: "timed out"}[outcome],
        "by": "".join(re.findall(r"^(?:FAILED|ERROR) .*", output, re.MULTILINE)[:1]),
        "change": "\n".join(lines),
    }


def run(files: list[str], timeout: float | None) -> tuple[int | None, str]:
    """Run tests in a fork of this process, which has the libraries imported but no XLA yet.

    Returns:
      pytest's exit code, or None where it took too long; and what it printed.
    """
    with tempfile.NamedTemporaryFile("r") as output:
        process = multiprocessing.get_context("fork").Process(target=child, args=(files, output))
        process.start()
        process.join(timeout)
        process.kill()
        process.join()
        return None if process.exitcode < 0 else process.exitcode, output.read()


def child(files: list[str], output: Any) -> None:
    with open(output.name, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.path.insert(0, os.getcwd())
    sys.dont_write_bytecode = True
    options = ["-n", "0", "-x", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider"]
    code = pytest.main([*options, *files])
    sys.stdout.flush()
    os._exit(code)


def check_tests(mutants: list[MutationSpec], known: dict[str, dict[str, str]]) -> None:
    """Stop if a module's tests fail without a mutant, too; where one survived, they did not."""
    outcomes: dict[str, set[str]] = {}
    for mutant in mutants:
        outcomes.setdefault(str(mutant.module_path), set()).add(known[identity(mutant)]["outcome"])
    for module, found in outcomes.items():
        if "survived" not in found:
            outcome, output = run(tests_of(Path(module)), None)
            if outcome != 0:
                raise SystemExit(f"The tests of {module} fail on unchanged code:\n{output}")


def report(path: str, rows: list[dict[str, str]]) -> None:
    """Print the survivors of a path, and the share caught with Wilson's 95 % interval."""
    for row in rows:
        if row["outcome"] != "caught":
            print(row["outcome"], row["mutant"], row["change"], sep="\n", end="\n\n")
    caught = sum(row["outcome"] == "caught" for row in rows)
    low, high = binomtest(caught, len(rows)).proportion_ci(method="wilson")
    print(
        f"{path}: {caught} of {len(rows)} caught, {caught / len(rows):.1%} ({low:.1%}-{high:.1%})"
    )


if __name__ == "__main__":
    main()
