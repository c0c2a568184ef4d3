"""K&C's Figures 1 and 6: points on native low-resolution faces, TinyFace's test faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image

from lrjax.data.identities import load_identities
from lrjax.experiments.context import AS_IN_THE_PAPERS, Context
from lrjax.experiments.detectors import SIDE, Detector, detectors
from lrjax.inference.aligner import resize_longer
from lrjax.inference.alignment import decode_identity
from lrjax.inference.crops import box_crops, cut_crop
from lrjax.inference.landmarks import LandmarkPredictor
from lrjax.inference.upsampler import Upsampler
from lrjax.report import draw
from lrjax.report.results import Result

CELL = 128
FACES = {"figure1": 6, "figure6": 40}
SUPER_RESOLUTION = {"SRGAN": "super_resolution:srgan", "ESRGAN": "super_resolution:esrgan"}

Row = tuple[str, list[draw.Picture]]


def figure1(context: Context) -> Result:
    """K&C Figure 1: landmarks on low-resolution faces by what is usual, and by S4.

    Draws what detectors find, what HR-LD finds on enlarged and on super-resolved faces, and what
    networks that learned from subsampled (S1) and from generated faces (S4) and the pretrained one
    find on the faces as they are.
    """
    spec, faces = _pictures(context, FACES["figure1"])
    rows = [*_detected(detectors(), faces), *_found(context, faces)]
    figure = context.figure(
        "figure1.png",
        "Each column is one face, evenly spread over the set; each row shows it as its system is "
        "given it, with the points found.",
        draw.labelled_rows(rows, CELL),
    )
    notes = (
        "Paper: of one face, (a) MTCNN and (b) the network of Bulat et al. find nothing; (c) to "
        "(e) are HR-LD on the enlarged face, a network trained on subsampled faces, and HR-LD on "
        "faces that SRGAN and ESRGAN made. Ours: in place of (b) dlib, where it is installed; the "
        "last two rows are not in the figure.",
    )
    return Result(
        title="Figure 1: landmarks on native low-resolution faces, by what is usual",
        order=0.9,
        figures=(figure,),
        notes=notes,
        data=spec,
    )


def figure6(context: Context) -> Result:
    """K&C Figure 6: points found by S4 on TinyFace's test faces.

    Draws probes, evenly spread over them, whatever they show.
    """
    spec, faces = _pictures(context, FACES["figure6"])
    images, points = look(context.landmarks("s4"), faces)
    figure = context.figure(
        "figure6.png",
        "Test faces evenly spread over the probes, none left out.",
        draw.face_sheet(images, points, 8),
    )
    title = "Figure 6: points on native low-resolution faces (S4)"
    notes = (context.departures("s4"),)
    return Result(title, 1.3, figures=(figure,), notes=notes, data=spec)


def look(
    predictor: LandmarkPredictor, faces: Sequence[Image.Image]
) -> tuple[np.ndarray, np.ndarray]:
    """Look once at pictures that show one face each, and nothing else.

    Returns:
      the network's own images uint8 [n, s, s, 3], and points [n, N, 2] in their pixels.
    """
    size, whole = predictor.config.size, np.array([(0, 0, *face.size) for face in faces])
    crops = box_crops(whole, predictor.config.context)
    images = np.stack(
        [
            cut_crop(face, centre, float(side), 0.0, size)
            for face, centre, side in zip(faces, crops.centre, crops.side, strict=True)
        ]
    )
    return images, predictor.predict_crops(images)[0]


def _pictures(context: Context, count: int) -> tuple[str, list[Image.Image]]:
    """Probes of this size's stand-in for TinyFace, and where they are from."""
    spec = f"{context.tests.identities}:probe"
    probes = load_identities(spec, context.data_dir, count)
    return spec, [decode_identity(probes, i) for i in range(len(probes))]


def _detected(at_hand: Mapping[str, Detector], faces: Sequence[Image.Image]) -> Iterator[Row]:
    """A row for each detector: the faces, and points on those that it finds."""
    for name, detector in at_hand.items():
        found = [detector(face) for face in faces]
        cells = []
        for face, points in zip(faces, found, strict=True):
            large = resize_longer(face, CELL)
            cell = np.asarray(large)
            if points is not None:
                scale = np.divide(large.size, face.size)
                cell = draw.draw_points(cell, (points + 0.5) * scale - 0.5)
            cells.append(cell)
        count = sum(points is not None for points in found)
        yield f"{name} on {SIDE} pixels: finds {count} of {len(faces)}", cells


def _found(context: Context, faces: Sequence[Image.Image]) -> Iterator[Row]:
    """A row for each landmark network, and each way of enlarging the faces first."""
    large = context.landmarks("hr")
    size = large.config.size
    enlarged = [resize_longer(face, size) for face in faces]
    yield f"HR-LD, enlarged to {size} pixels", draw.face_cells(*look(large, enlarged))
    s1, s4 = context.landmarks("s1"), context.landmarks("s4")
    yield "trained on subsampled faces (S1)", draw.face_cells(*look(s1, faces))
    for name, run in SUPER_RESOLUTION.items():
        upsampler = Upsampler.load(context.run(run), "last")
        side = max(upsampler.size) if upsampler.size else None
        sharp = [Image.fromarray(image) for image in upsampler(faces, side=side)]
        yield f"HR-LD, super-resolved by {name}", draw.face_cells(*look(large, sharp))
    yield "S4, as they are", draw.face_cells(*look(s4, faces))
    pretrained = LandmarkPredictor.load("pretrained", AS_IN_THE_PAPERS)
    yield "pretrained weights, as they are", draw.face_cells(*look(pretrained, faces))


EXPERIMENTS = {"figure1": figure1, "figure6": figure6}
