"""Where the five points of an aligned face lie: the targets that face encoders are trained with.

The order is that of `points.FIVE`: left eye, right eye, nose tip, left and right mouth corner, as
the viewer sees them. Pixel centres are at integers.

A template for another size is made by the pixel-centre-exact rule of this library, x becomes
(x + 0.5) s - 0.5: the aligned face at 32 pixels is the aligned face at 112 pixels, resized. The
shorter x s, which much code uses, would put the face 0.36 pixels further to the right and down.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """Describes an aligned image.

    Attributes:
      name: of the template.
      height, width: of the image in pixels.
      points: float64 [5, 2] (x, y) in its pixels; read-only.
    """

    name: str
    height: int
    width: int
    points: np.ndarray

    def __post_init__(self) -> None:
        points = np.array(self.points, np.float64)
        points.flags.writeable = False
        object.__setattr__(self, "points", points)


def scaled(template: Template, height: int, name: str | None = None) -> Template:
    """Makes the template of the same face in an image of another height, in proportion.

    Raises:
      ValueError: the width would not be a whole number of pixels.
    """
    width, rest = divmod(template.width * height, template.height)
    if height < 1 or rest:
        raise ValueError(
            f"{template.name} of {template.width}x{template.height} pixels has no whole width at a "
            f"height of {height}"
        )
    factor = height / template.height
    points = (template.points + 0.5) * factor - 0.5
    return Template(name or f"{template.name}@{height}", height, width, points)


def stretched(template: Template, height: int, width: int) -> Template:
    """Makes the template whose image, resized to the given one's height and width, is that one's.

    It has another name, unless it is the given one.
    """
    if (height, width) == (template.height, template.width):
        return template
    factors = (width / template.width, height / template.height)
    points = (template.points + 0.5) * factors - 0.5
    return Template(f"{template.name} at {width}x{height}", height, width, points)


def _deepid2(height: int, width: int) -> np.ndarray:
    """The points of `centerface` as high as `height`, and in the middle of `width`.

    The proportions of the two images differ by a seventh of a pixel, so that `scaled` has no width.
    DeepID2's own patches are not known; this one is the whole face.
    """
    face = _CENTERFACE
    middle = np.array([(face.width - 1) / 2, (face.height - 1) / 2])
    return (face.points - middle) * (height / face.height) + ((width - 1) / 2, (height - 1) / 2)


def _lightcnn(size: int, eyes: float, drop: float) -> np.ndarray:
    """The five points of LightCNN's rule, which speaks of two points only.

    The rule: the eyes are level, their centre is at height `eyes`, that of the mouth `drop` pixels
    below it, and both are in the middle of the width. How far the eyes and the mouth corners are
    apart, and where the nose is between them, is taken from `arcface112`, made symmetrical: for a
    face of those proportions the fit of five points is the rule.
    """
    face = _ARCFACE
    unit = drop / (face[3:, 1].mean() - face[:2, 1].mean())
    half_eyes = unit * (face[1, 0] - face[0, 0]) / 2
    half_mouth = unit * (face[4, 0] - face[3, 0]) / 2
    nose = eyes + unit * (face[2, 1] - face[:2, 1].mean())
    middle, mouth = (size - 1) / 2, eyes + drop
    return np.array(
        [
            (middle - half_eyes, eyes),
            (middle + half_eyes, eyes),
            (middle, nose),
            (middle - half_mouth, mouth),
            (middle + half_mouth, mouth),
        ]
    )


# Of InsightFace and those who follow it.
_ARCFACE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
_ARCFACE112 = Template("arcface112", 112, 112, _ARCFACE)
# Of CentreFace and SphereFace: the same face, with 8 columns less on either side.
_CENTERFACE = Template("centerface", 112, 96, _ARCFACE - (8, 0))
_LIGHTCNN128 = Template("lightcnn128", 128, 128, _lightcnn(128, eyes=40, drop=48))

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        _ARCFACE112,
        _CENTERFACE,
        scaled(_CENTERFACE, 56, "centerface56"),
        scaled(_ARCFACE112, 32, "face32"),
        scaled(_ARCFACE112, 56, "arcface56"),
        # VGGFace was trained on looser crops, whose points nobody has published.
        scaled(_ARCFACE112, 224, "arcface224"),
        Template("deepid2", 55, 47, _deepid2(55, 47)),
        # The 128-pixel crop of LightCNN's tests; its training crops are shifted at random.
        _LIGHTCNN128,
        scaled(_LIGHTCNN128, 32, "lightcnn32"),
    )
}
"""Name -> template."""
