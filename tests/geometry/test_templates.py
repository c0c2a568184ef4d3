"""Templates against the numbers of those who published them."""

import numpy as np
import pytest

from lrjax.geometry.points import FIVE
from lrjax.geometry.templates import TEMPLATES, scaled, stretched

# Printed for 32 pixels with the rule x s, without the half pixel.
SHORT32 = [
    (10.9413, 14.7704),
    (21.0091, 14.7147),
    (16.0072, 20.4962),
    (11.8712, 26.3901),
    (20.2085, 26.3440),
]


def test_sizes_and_names() -> None:
    # Tests of other files may have added theirs, "small".
    own = {name: template for name, template in TEMPLATES.items() if name != "small"}
    sizes = {name: (t.height, t.width) for name, t in own.items()}
    assert sizes == {
        "arcface112": (112, 112),
        "arcface224": (224, 224),
        "arcface56": (56, 56),
        "centerface": (112, 96),
        "centerface56": (56, 48),
        "deepid2": (55, 47),
        "face32": (32, 32),
        "lightcnn128": (128, 128),
        "lightcnn32": (32, 32),
    }
    assert all(name == t.name and t.points.shape == (5, 2) for name, t in own.items())


def test_centerface_is_arcface_with_narrower_margins() -> None:
    expected = [
        (30.2946, 51.6963),
        (65.5318, 51.5014),
        (48.0252, 71.7366),
        (33.5493, 92.3655),
        (62.7299, 92.2041),
    ]
    np.testing.assert_allclose(TEMPLATES["centerface"].points, expected, atol=1e-4)


def test_scaling_is_exact_at_pixel_centres() -> None:
    """Half a pixel of the large image is 1/7 pixel of the small one: -0.5 + 1/7 from x s."""
    expected = np.array(SHORT32) + 0.5 * 32 / 112 - 0.5
    np.testing.assert_allclose(TEMPLATES["face32"].points, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "whole", "factor"),
    [
        ("arcface56", "arcface112", 1 / 2),
        ("arcface224", "arcface112", 2),
        ("centerface56", "centerface", 1 / 2),
    ],
)
def test_scaled_faces_keep_their_distances_to_the_edges(
    name: str, whole: str, factor: float
) -> None:
    """Edges are half a pixel outside of the first and last pixel's centre."""
    expected = factor * (TEMPLATES[whole].points + 0.5)
    np.testing.assert_allclose(TEMPLATES[name].points + 0.5, expected)


def test_the_face_of_deepid2_is_in_the_middle() -> None:
    """By hand: 112 rows become 55, 96 columns 47 1/7, of which 1/14 is cut off on either side."""
    found = TEMPLATES["deepid2"].points
    np.testing.assert_allclose(
        found[0], [30.7946 * 55 / 112 - 1 / 14 - 0.5, 52.1963 * 55 / 112 - 0.5]
    )
    np.testing.assert_allclose(
        found[4], [63.2299 * 55 / 112 - 1 / 14 - 0.5, 92.7041 * 55 / 112 - 0.5]
    )


def test_scaling_there_and_back() -> None:
    template = TEMPLATES["centerface"]
    small = scaled(template, 28)
    assert (small.height, small.width, small.name) == (28, 24, "centerface@28")
    np.testing.assert_allclose(scaled(small, 112).points, template.points)


def test_stretching_moves_points_as_resizing_moves_pixels() -> None:
    template = TEMPLATES["centerface"]
    high = stretched(template, 168, 48)  # of 112x96
    assert (high.height, high.width, high.name) == (168, 48, "centerface at 48x168")
    expected = (template.points + 0.5) * [0.5, 1.5] - 0.5
    np.testing.assert_allclose(high.points, expected)
    assert stretched(template, 112, 96) is template
    for height, width in ((112, 48), (168, 96)):
        assert stretched(template, height, width).name != template.name


@pytest.mark.parametrize("height", [0, 33])
def test_sizes_that_are_not_whole_are_refused(height: int) -> None:
    with pytest.raises(ValueError, match="whole"):
        scaled(TEMPLATES["centerface"], height)


def test_the_rule_of_lightcnn() -> None:
    points = TEMPLATES["lightcnn128"].points
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    np.testing.assert_allclose(eyes, (63.5, 40))
    np.testing.assert_allclose(mouth, (63.5, 88))
    assert points[0, 1] == points[1, 1]
    # By hand: 35.2372 wide eyes, 40.6859 from eyes to mouth, enlarged to 48.
    np.testing.assert_allclose(points[1, 0] - points[0, 0], 35.2372 * 48 / 40.6859, atol=1e-3)
    np.testing.assert_allclose(points[4, 0] - points[3, 0], 29.1806 * 48 / 40.6859, atol=1e-3)
    # Its nose is 20.13775 below the eyes.
    np.testing.assert_allclose(points[2], (63.5, 40 + 20.13775 * 48 / 40.6859), atol=1e-3)
    eyes32 = TEMPLATES["lightcnn32"].points[:2].mean(0)
    np.testing.assert_allclose(eyes32, (15.5, 40.5 / 4 - 0.5))


def test_left_is_the_viewers_left_and_constants_cannot_be_changed() -> None:
    for template in TEMPLATES.values():
        for i, j in enumerate(FIVE.flip):
            side = np.sign(template.points[i, 0] - template.points[j, 0])
            assert side == (i > j) - (i < j)
        with pytest.raises(ValueError, match="read-only"):
            template.points[0, 0] = 0
