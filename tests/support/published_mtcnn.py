"""MTCNN in PyTorch, written from its layer table, and its cascade on whole levels, box by box.

Attribute names are those of the published state dicts. Import only where PyTorch is there.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Layers(nn.Module):
    """Convolutions with PReLU and poolings: (channels, kernel, side of the pooling or 0) each."""

    def __init__(self, convolutions: tuple[tuple[int, int, int], ...]) -> None:
        super().__init__()
        self.poolings = [side for _, _, side in convolutions]
        inputs = 3
        for place, (channels, kernel, _) in enumerate(convolutions, 1):
            setattr(self, f"conv{place}", nn.Conv2d(inputs, channels, kernel))
            setattr(self, f"prelu{place}", nn.PReLU(channels))
            inputs = channels

    def features(self, x: torch.Tensor) -> torch.Tensor:
        for place, side in enumerate(self.poolings, 1):
            x = getattr(self, f"prelu{place}")(getattr(self, f"conv{place}")(x))
            x = F.max_pool2d(x, side, 2, ceil_mode=True) if side else x
        return x


class PNet(Layers):
    def __init__(self) -> None:
        super().__init__(((10, 3, 2), (16, 3, 0), (32, 3, 0)))
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Probabilities [B, h, w], moves [B, h, w, 4]."""
        x = self.features(x)
        return [self.conv4_1(x).softmax(1)[:, 1], self.conv4_2(x).permute(0, 2, 3, 1)]


class RNet(Layers):
    def __init__(self) -> None:
        super().__init__(((28, 3, 3), (48, 3, 3), (64, 2, 0)))
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.features(x).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu4(self.dense4(x))
        return [self.dense5_1(x).softmax(1)[:, 1], self.dense5_2(x)]


class ONet(Layers):
    def __init__(self) -> None:
        super().__init__(((32, 3, 3), (64, 3, 3), (64, 3, 2), (128, 2, 0)))
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = self.features(x).permute(0, 3, 2, 1).flatten(1)
        x = self.prelu5(self.dense5(x))
        points = self.dense6_3(x)
        pairs = torch.stack([points[:, :5], points[:, 5:]], -1)
        return [self.dense6_1(x).softmax(1)[:, 1], self.dense6_2(x), pairs]


NETS = {"pnet": PNet, "rnet": RNet, "onet": ONet}


def state_of(nets: dict[str, nn.Module]) -> dict[str, np.ndarray]:
    """As `read_wheel` gives it."""
    return {
        f"{network}.{name}": value.numpy()
        for network, module in nets.items()
        for name, value in module.state_dict().items()
    }


def look(net: nn.Module, pixels: torch.Tensor) -> list[np.ndarray]:
    with torch.no_grad():
        return [values.numpy() for values in net((pixels - 127.5) / 128)]


def overlap(a: np.ndarray, b: np.ndarray, least: bool) -> float:
    """In continuous coordinates, or (`least`) counting pixels and over the smaller box."""
    rest = 1 if least else 0
    width, height = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + rest) for i in (0, 1))
    areas = [(c[2] - c[0] + rest) * (c[3] - c[1] + rest) for c in (a, b)]
    common = width * height
    return common / (min(areas) if least else sum(areas) - common)


def suppressed(boxes: list[dict], threshold: float, least: bool = False) -> list[dict]:
    kept: list[dict] = []
    for one in sorted(boxes, key=lambda box: -box["score"]):
        if all(overlap(one["box"], other["box"], least) <= threshold for other in kept):
            kept.append(one)
    return kept


def shifted(one: dict, rest: int) -> np.ndarray:
    x1, y1, x2, y2 = one["box"]
    sides = np.array([x2 - x1 + rest, y2 - y1 + rest] * 2)
    return one["box"] + sides * one["moves"]


def square(box: np.ndarray) -> np.ndarray:
    sides = box[2:] - box[:2]
    corner = box[:2] + sides / 2 - sides.max() / 2
    return np.concatenate([corner, corner + sides.max()])


def looked_at(net: nn.Module, image: torch.Tensor, boxes: list[np.ndarray], side: int) -> list:
    height, width = image.shape[2:]
    found = []
    for box in boxes:
        x1, y1, x2, y2 = (int(v) for v in box)
        x1, y1, x2, y2 = max(x1, 1), max(y1, 1), min(x2, width), min(y2, height)
        part = image[:, :, y1 - 1 : y2, x1 - 1 : x2]
        if part.numel():
            values = look(net, F.interpolate(part, size=(side, side), mode="area"))
            score, moves, *points = (value[0] for value in values)
            found.append({"box": box, "score": score, "moves": moves, "points": points})
    return found


def cascade(
    nets: dict[str, nn.Module],
    pixels: np.ndarray,
    smallest: float,
    thresholds: tuple[float, float, float],
) -> list[dict]:
    """Faces of uint8 [H, W, 3], the surest first: box, score and points, counted from 1."""
    image = torch.tensor(pixels).permute(2, 0, 1)[None].float()
    height, width = pixels.shape[:2]
    scale, found = 12 / smallest, []
    while min(height, width) * scale >= 12:
        size = (int(height * scale + 1), int(width * scale + 1))
        scores, moves = look(nets["pnet"], F.interpolate(image, size=size, mode="area"))
        level = []
        for y, x in np.argwhere(scores[0] >= thresholds[0]):
            ends = np.array([2 * x + 1, 2 * y + 1, 2 * x + 12, 2 * y + 12], np.float32)
            box = np.floor(ends / np.float32(scale)).astype(float)
            level.append({"box": box, "score": scores[0, y, x], "moves": moves[0, y, x]})
        found += suppressed(level, 0.5)
        scale *= 0.709
    boxes = [square(shifted(one, 0)) for one in suppressed(found, 0.7)]
    found = [
        one for one in looked_at(nets["rnet"], image, boxes, 24) if one["score"] > thresholds[1]
    ]
    boxes = [square(shifted(one, 1)) for one in suppressed(found, 0.7)]
    found = [
        one for one in looked_at(nets["onet"], image, boxes, 48) if one["score"] > thresholds[2]
    ]
    for one in found:
        x1, y1, x2, y2 = one["box"]
        one["points"] = one["points"][0] * (x2 - x1 + 1, y2 - y1 + 1) + (x1, y1) - 1
        one["box"] = shifted(one, 1)
    return suppressed(found, 0.7, least=True)
