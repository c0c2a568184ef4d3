"""PSNR and SSIM against transcriptions in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from lrjax.evaluation import images as quality


def pair(size: tuple[int, ...] = (2, 14, 15, 3)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, size).astype(np.float32)
    return truth + 0.3 * rng.normal(size=size).astype(np.float32), truth


def test_psnr_is_of_clipped_bytes() -> None:
    images, truth = pair()
    found = quality.psnr(images, truth)
    light = [(np.clip(x.astype(np.float64), -1, 1) + 1) * 127.5 for x in (images, truth)]
    error = ((light[0] - light[1]) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(found, 10 * np.log10(255**2 / error), rtol=1e-5)
    np.testing.assert_allclose(
        quality.mean_squared_errors(images, truth), error / 127.5**2, rtol=1e-5
    )
    np.testing.assert_allclose(quality.psnr(truth, truth), 100)


def ssim_by_loops(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004 on one channel in 0..255."""
    offset = np.arange(11) - 5
    window = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i, j in np.ndindex(x.shape[0] - 10, x.shape[1] - 10):
        a, b = (z[i : i + 11, j : j + 11] for z in (x, y))
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
        both = (window * (a - mean_a) * (b - mean_b)).sum()
        values.append(
            (2 * mean_a * mean_b + c1)
            * (2 * both + c2)
            / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
        )
    return float(np.mean(values))


def test_ssim_is_wangs() -> None:
    images, truth = pair()
    found = quality.ssim(images, truth)
    light = [(np.clip(x.astype(np.float64), -1, 1) + 1) * 127.5 for x in (images, truth)]
    for n in range(2):
        wanted = [ssim_by_loops(light[0][n, ..., c], light[1][n, ..., c]) for c in range(3)]
        np.testing.assert_allclose(found[n], np.mean(wanted), rtol=1e-4)
    np.testing.assert_allclose(quality.ssim(truth, truth), 1, rtol=1e-5)


def test_ssim_of_images_as_small_as_its_window_and_smaller() -> None:
    images, truth = pair((1, 11, 11, 1))
    light = [(np.clip(x.astype(np.float64), -1, 1) + 1) * 127.5 for x in (images, truth)]
    wanted = ssim_by_loops(light[0][0, ..., 0], light[1][0, ..., 0])
    np.testing.assert_allclose(quality.ssim(images, truth), [wanted], rtol=1e-4)
    for height, width in ((10, 20), (20, 10)):
        message = rf"images of \({height}, {width}\) pixels are smaller than 11"
        with pytest.raises(ValueError, match=message):
            quality.ssim(*pair((1, height, width, 3)))
