"""Every system of both papers: which configuration trains it, which experiment measures it, and
whether that has been done. Nothing here imports JAX: `lrjax --help` shows it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrjax.files import read_json

RESULTS = Path(__file__).parent / "results"
"""The results that come along."""


@dataclasses.dataclass(frozen=True)
class System:
    """A system.

    Attributes:
      name: the paper's.
      paper: "K&C" or "CSRI".
      config: what `lrjax train` makes it of.
      experiment: what `lrjax experiment` measures it with.
      row: the first cell of its row in that experiment's tables; empty: its name.
    """

    name: str
    paper: str
    config: str
    experiment: str
    row: str = ""


SYSTEMS = (
    *(System(f"S{i}", "K&C", f"landmarks:s{i}", "table1b") for i in (1, 2, 3, 4)),
    # The rows of Table 4 are test sets: this is the first of 300W.
    System("HR-LD", "K&C", "landmarks:hr68", "table4", "Common"),
    *(System(f"L{i}", "K&C", f"recognition:l{i}", "table2a") for i in (1, 2, 3, 4, 5)),
    System("Baseline", "K&C", "landmarks:hr", "table2b"),
    System("I1", "K&C", "landmarks:s3", "table2b"),
    System("I2", "K&C", "landmarks:tinyface", "table2b"),
    System("I3", "K&C", "landmarks:end_to_end", "table2b"),
    System("A1", "K&C", "super_resolution:srgan", "table3"),
    System("A2", "K&C", "super_resolution:esrgan", "table3"),
    System("DeepID2", "CSRI", "recognition:deepid2_tuned", "csri_table3"),
    # Paper: "fails to converge in fine-tuning on TinyFace", so that of CelebA was tested.
    System("SphereFace", "CSRI", "recognition:sphereface", "csri_table3"),
    System("VggFace", "CSRI", "recognition:vggface_tuned", "csri_table3"),
    System("CentreFace", "CSRI", "recognition:centreface_tuned", "csri_table6"),
    System("VDSR + CentreFace", "CSRI", "csri:vdsr_centreface", "csri_table6"),
    *(
        System(f"{sr} + {fr}", "CSRI", f"csri:{sr.lower()}_{fr.lower()}", "csri_table5")
        for fr in ("CentreFace", "VggFace")
        for sr in ("SRCNN", "VDSR", "DRRN")
        if (sr, fr) != ("VDSR", "CentreFace")
    ),
    System("RPCN", "CSRI", "recognition:rpcn_tuned", "csri_table5"),
    System("joint", "CSRI", "csri:joint_tuned", "csri_table6"),
    System("CSRI", "CSRI", "csri:csri", "csri_table7"),
)


def state(system: System, folders: Sequence[Path] = (RESULTS,)) -> str:
    """ "measured (small)", with the size of the configurations; or "not measured here"."""
    for folder in folders:
        for file in sorted(Path(folder).rglob(f"{system.experiment}.json")):
            result, row = read_json(file, "measure it again"), system.row or system.name
            hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
            if hidden or not isinstance(result, dict):
                continue
            if any(_measured(table, row) for table in result.get("tables", ())):
                size = re.search(r"--size (\w+)", result.get("command", ""))
                return f"measured ({size[1] if size else 'paper'})"
    return "not measured here"


def _measured(table: dict[str, Any], label: str) -> bool:
    """Whether a table holds a number of ours in the row of a label; the paper's are not enough."""
    ours = [i for i, name in enumerate(table["columns"]) if not re.search(r"(^|, )paper\b", name)]
    row = next((row for row in table["rows"] if row[0] == label), [])
    return any(isinstance(row[i], int | float) for i in ours if row)


def rows(folders: Sequence[Path] = (RESULTS,)) -> list[tuple[str, str, str, str, str]]:
    """(system, paper, command that trains it, command that measures it, state)."""
    return [
        (
            one.name,
            one.paper,
            f"lrjax train {one.config}",
            f"lrjax experiment {one.experiment}",
            state(one, folders),
        )
        for one in SYSTEMS
    ]
