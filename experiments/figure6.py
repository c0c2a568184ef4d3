"""K&C Figure 6: points found by S4 on native low-resolution faces."""

from __future__ import annotations

import dataclasses

from experiments.common import Context, figure, predict
from lrjax.report.results import Result
from lrjax.tasks import runs

SHOWN = 40


def run(context: Context) -> Result:
    """Draw the first faces of the native set, whatever they show."""
    folder = context.landmark_run("s4")
    config = runs.load_config(folder)
    faces = context.native_faces(context.test.wild, config)
    faces = dataclasses.replace(
        faces,
        images=faces.images[:SHOWN],
        points=faces.points[:SHOWN],
        visible=faces.visible[:SHOWN],
    )
    found = predict(folder, faces, degraded_by="none")
    result = Result(
        title="Figure 6: points on native low-resolution faces (S4)",
        order=1.3,
        figures=(figure("figure6.png", "The first faces of the set, none left out."),),
        data=context.test.wild,
    )
    context.save("figure6", result, {"figure6.png": found.pictures(SHOWN, 8)})
    return result
