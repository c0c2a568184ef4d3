"""K&C Figure 6: points found by S4 on native low-resolution faces."""

from __future__ import annotations

import numpy as np

from experiments.common import Context, figure, network
from lrjax.data.faces import load_faces
from lrjax.report import draw
from lrjax.report.results import Result

SHOWN = 40


def run(context: Context) -> Result:
    """Draw faces of the native set, evenly spread over it, whatever they show."""
    detector = network(context.landmark_run("s4"))
    config = detector.config
    faces = load_faces(
        context.test.wild,
        data_dir=context.data_dir,
        crop_size=config.size,
        context=config.context,
        scheme=config.scheme,
        limit=SHOWN,
    )
    margin = (faces.images.shape[1] - config.size) // 2
    inner = slice(margin, margin + config.size)
    images = np.ascontiguousarray(faces.images[:, inner, inner])
    found, _ = detector.look_at_views(images)
    result = Result(
        title="Figure 6: points on native low-resolution faces (S4)",
        order=1.3,
        figures=(figure("figure6.png", "Faces evenly spread over the set, none left out."),),
        data=context.test.wild,
    )
    context.save("figure6", result, {"figure6.png": draw.face_sheet(images, found, 8)})
    return result
