"""The published networks in PyTorch, written from their layer tables, at any width.

Attribute names are those of the published state dicts. Import only where PyTorch is there.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

from lrjax.models.mobilefacenet import DEVIATION, MEAN


def scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


class Mfm(nn.Module):
    def __init__(self, inputs: int, outputs: int, side: int = 0) -> None:
        super().__init__()
        if side:
            self.filter = nn.Conv2d(inputs, 2 * outputs, side, padding=side // 2)
        else:
            self.filter = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.max(*self.filter(x).chunk(2, 1))


class MfmResidual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = Mfm(channels, channels, 3)
        self.conv2 = Mfm(channels, channels, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(self.conv1(x)) + x


class MfmGroup(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_a = Mfm(inputs, inputs, 1)
        self.conv = Mfm(inputs, outputs, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.conv_a(x))


class LightCNN(nn.Module):
    """Grey images [B, 1, S, S] in [0, 1]; `classes` > 0 gives it its last layer."""

    def __init__(self, version: int, width: float, first_pools: bool, classes: int = 7) -> None:
        super().__init__()
        self.version, self.first_pools = version, first_pools
        a, b, c, d = (scaled(channels, width) for channels in (48, 96, 192, 128))
        self.conv1 = Mfm(1, a, 5)
        self.block1 = nn.Sequential(MfmResidual(a))
        self.group1 = MfmGroup(a, b)
        self.block2 = nn.Sequential(*(MfmResidual(b) for _ in range(2)))
        self.group2 = MfmGroup(b, c)
        self.block3 = nn.Sequential(*(MfmResidual(c) for _ in range(3)))
        self.group3 = MfmGroup(c, d)
        self.block4 = nn.Sequential(*(MfmResidual(d) for _ in range(4)))
        self.group4 = MfmGroup(d, d)
        self.fc = Mfm(64 * d, 256) if version == 1 else nn.Linear(64 * d, 256)
        self.fc2 = nn.Linear(256, classes, bias=version == 1)

    def pool(self, x: torch.Tensor) -> torch.Tensor:
        if self.version == 1:
            return F.max_pool2d(x, 2, 2, ceil_mode=True)
        return F.max_pool2d(x, 2) + F.avg_pool2d(x, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        early = self.pool if self.first_pools else nn.Identity()
        x = early(self.conv1(x))
        x = early(self.group1(self.block1(x)))
        x = self.pool(self.group2(self.block2(x)))
        x = self.group3(self.block3(x))
        x = self.pool(self.group4(self.block4(x)))
        return self.fc(x.flatten(1))

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """RGB in [-1, 1] as this network wants it."""
        weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
        return (((images + 1) / 2) * weights).sum(1, keepdim=True)


class Basic(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        side: int | tuple,
        stride: int = 1,
        padding: int | tuple = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


class Residual(nn.Module):
    """Blocks 35, 17 and 8: a branch of one layer, and others."""

    def __init__(
        self, channels: int, branches: list[nn.Module], scale: float, rectified: bool = True
    ) -> None:
        super().__init__()
        self.count, self.scale, self.rectified = len(branches), scale, rectified
        total = 0
        for place, branch in enumerate(branches):
            setattr(self, f"branch{place}", branch)
            last = branch if isinstance(branch, Basic) else branch[-1]
            total += last.conv.out_channels
        self.conv2d = nn.Conv2d(total, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [getattr(self, f"branch{place}")(x) for place in range(self.count)]
        x = self.conv2d(torch.cat(parts, 1)) * self.scale + x
        return F.relu(x) if self.rectified else x


class Reduction(nn.Module):
    def __init__(self, branches: list[nn.Module]) -> None:
        super().__init__()
        self.count = len(branches)
        for place, branch in enumerate(branches):
            setattr(self, f"branch{place}", branch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [getattr(self, f"branch{place}")(x) for place in range(self.count)]
        return torch.cat([*parts, F.max_pool2d(x, 3, 2)], 1)


class InceptionResnetV1(nn.Module):
    """Images [B, 3, S, S] of (pixel - 127.5) / 128."""

    def __init__(self, width: float, classes: int = 7) -> None:
        super().__init__()

        def w(channels: int) -> int:
            return scaled(channels, width)

        def block35(c: int) -> Residual:
            n = w(32)
            first = Basic(c, n, 1)
            second = nn.Sequential(Basic(c, n, 1), Basic(n, n, 3, padding=1))
            third = nn.Sequential(
                Basic(c, n, 1), Basic(n, n, 3, padding=1), Basic(n, n, 3, padding=1)
            )
            return Residual(c, [first, second, third], 0.17)

        def block17(c: int) -> Residual:
            n = w(128)
            branch = nn.Sequential(
                Basic(c, n, 1),
                Basic(n, n, (1, 7), padding=(0, 3)),
                Basic(n, n, (7, 1), padding=(3, 0)),
            )
            return Residual(c, [Basic(c, n, 1), branch], 0.10)

        def block8(c: int, scale: float = 0.20, rectified: bool = True) -> Residual:
            n = w(192)
            branch = nn.Sequential(
                Basic(c, n, 1),
                Basic(n, n, (1, 3), padding=(0, 1)),
                Basic(n, n, (3, 1), padding=(1, 0)),
            )
            return Residual(c, [Basic(c, n, 1), branch], scale, rectified)

        self.conv2d_1a = Basic(3, w(32), 3, 2)
        self.conv2d_2a = Basic(w(32), w(32), 3)
        self.conv2d_2b = Basic(w(32), w(64), 3, padding=1)
        self.conv2d_3b = Basic(w(64), w(80), 1)
        self.conv2d_4a = Basic(w(80), w(192), 3)
        self.conv2d_4b = Basic(w(192), w(256), 3, 2)
        c = w(256)
        self.repeat_1 = nn.Sequential(*(block35(c) for _ in range(5)))
        self.mixed_6a = Reduction(
            [
                Basic(c, w(384), 3, 2),
                nn.Sequential(
                    Basic(c, w(192), 1),
                    Basic(w(192), w(192), 3, padding=1),
                    Basic(w(192), w(256), 3, 2),
                ),
            ]
        )
        c += w(384) + w(256)
        self.repeat_2 = nn.Sequential(*(block17(c) for _ in range(10)))
        self.mixed_7a = Reduction(
            [
                nn.Sequential(Basic(c, w(256), 1), Basic(w(256), w(384), 3, 2)),
                nn.Sequential(Basic(c, w(256), 1), Basic(w(256), w(256), 3, 2)),
                nn.Sequential(
                    Basic(c, w(256), 1),
                    Basic(w(256), w(256), 3, padding=1),
                    Basic(w(256), w(256), 3, 2),
                ),
            ]
        )
        c += w(384) + w(256) + w(256)
        self.repeat_3 = nn.Sequential(*(block8(c) for _ in range(5)))
        self.block8 = block8(c, 1.0, rectified=False)
        self.last_linear = nn.Linear(c, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=0.001)
        self.logits = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = F.max_pool2d(x, 3, 2)
        x = self.conv2d_4b(self.conv2d_4a(self.conv2d_3b(x)))
        x = self.repeat_2(self.mixed_6a(self.repeat_1(x)))
        x = self.block8(self.repeat_3(self.mixed_7a(x)))
        return self.last_bn(self.last_linear(x.mean((2, 3))))

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """RGB in [-1, 1] as this network wants it."""
        pixels = 127.5 * (images + 1)
        return (pixels - 127.5) / 128


def conv_bn(inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1) -> list:
    convolution = nn.Conv2d(
        inputs, outputs, side, stride, (side - 1) // 2, groups=groups, bias=False
    )
    return [convolution, nn.BatchNorm2d(outputs)]


class Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.added = stride == 1 and inputs == outputs
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            nn.Sequential(*conv_bn(inputs, hidden, 1), nn.ReLU6()),
            nn.Sequential(*conv_bn(hidden, hidden, 3, stride, hidden), nn.ReLU6()),
            *conv_bn(hidden, outputs, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.added else self.conv(x)


class MobileFaceNet(nn.Module):
    """Images [B, 3, 112, 112], with ImageNet's mean and deviation taken off."""

    def __init__(self, width: float) -> None:
        super().__init__()
        n, last = scaled(64, width), scaled(512, width)
        self.conv1 = nn.Sequential(*conv_bn(3, n, 3, 2), nn.ReLU6())
        self.dw_conv = nn.Module()
        self.dw_conv.depthwise = nn.Conv2d(n, n, 3, padding=1, groups=n, bias=False)
        self.dw_conv.pointwise = nn.Conv2d(n, n, 1, bias=False)
        self.dw_conv.bn1, self.dw_conv.bn2 = nn.BatchNorm2d(n), nn.BatchNorm2d(n)
        blocks = []
        for t, c, count, stride in (
            (2, 64, 5, 2),
            (4, 128, 1, 2),
            (2, 128, 6, 1),
            (4, 128, 1, 2),
            (2, 128, 2, 1),
        ):
            for place in range(count):
                blocks.append(Inverted(n, scaled(c, width), 1 if place else stride, t))
                n = scaled(c, width)
        self.features = nn.Sequential(*blocks)
        self.conv2 = nn.Sequential(*conv_bn(n, last, 1), nn.ReLU6())
        self.gdconv = nn.Module()
        self.gdconv.depthwise = nn.Conv2d(last, last, 7, groups=last, bias=False)
        self.gdconv.bn = nn.BatchNorm2d(last)
        self.conv3 = nn.Conv2d(last, 128, 1)
        self.bn = nn.BatchNorm2d(128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        x = F.relu(self.dw_conv.bn1(self.dw_conv.depthwise(x)))
        x = F.relu(self.dw_conv.bn2(self.dw_conv.pointwise(x)))
        x = self.conv2(self.features(x))
        x = self.gdconv.bn(self.gdconv.depthwise(x))
        return self.bn(self.conv3(x)).flatten(1)

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """RGB in [-1, 1] as this network wants it."""
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, DEVIATION))
        return ((images + 1) / 2 - mean) / deviation


def main_path(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Of a unit of IResNet: norm, convolution, norm, PReLU, convolution, norm."""
    return [
        nn.BatchNorm2d(inputs),
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.PReLU(outputs),
        nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
    ]


def projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class IRUnit(nn.Module):
    """AdaFace's: an input of as many channels is taken as it is, or thinned out."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        same = inputs == outputs
        thin = nn.MaxPool2d(1, stride)
        self.shortcut_layer = thin if same else projection(inputs, outputs, stride)
        self.res_layer = nn.Sequential(*main_path(inputs, outputs, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class IR(nn.Module):
    """AdaFace's and CVLface's IR-18, -50 and -101: BGR images [B, 3, 112, 112] in [-1, 1]."""

    def __init__(self, counts: tuple[int, ...], width: float, classes: int = 0) -> None:
        super().__init__()
        n = scaled(64, width)
        convolution = nn.Conv2d(3, n, 3, 1, 1, bias=False)
        self.input_layer = nn.Sequential(convolution, nn.BatchNorm2d(n), nn.PReLU(n))
        body = []
        for channels, count in zip((64, 128, 256, 512), counts, strict=True):
            for place in range(count):
                body.append(IRUnit(n, scaled(channels, width), 1 if place else 2))
                n = scaled(channels, width)
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(n),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(n * 49, 512),
            nn.BatchNorm1d(512, affine=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.output_layer(self.body(self.input_layer(x)))

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """RGB in [-1, 1] as this network wants it."""
        return images[:, [2, 1, 0]]


class IUnit(nn.Module):
    """InsightFace's: the input of what halves passes a convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        names = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")
        for name, layer in zip(names, main_path(inputs, outputs, stride), strict=True):
            setattr(self, name, layer)
        self.downsample = projection(inputs, outputs, stride) if stride > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    """InsightFace's iresnet18, -50 and -100: RGB images [B, 3, 112, 112] in [-1, 1]."""

    def __init__(self, counts: tuple[int, ...], width: float) -> None:
        super().__init__()
        n = scaled(64, width)
        self.conv1 = nn.Conv2d(3, n, 3, 1, 1, bias=False)
        self.bn1, self.prelu = nn.BatchNorm2d(n), nn.PReLU(n)
        for stage, (channels, count) in enumerate(zip((64, 128, 256, 512), counts, strict=True), 1):
            m = scaled(channels, width)
            parts = [IUnit(m if place else n, m, 1 if place else 2) for place in range(count)]
            setattr(self, f"layer{stage}", nn.Sequential(*parts))
            n = m
        self.bn2 = nn.BatchNorm2d(n)
        self.fc = nn.Linear(n * 49, 512)
        self.features = nn.BatchNorm1d(512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.bn2(x).flatten(1)))

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """RGB in [-1, 1] as this network wants it."""
        return images


class VDSR(nn.Module):
    """Enlarged images [B, C, H, W] in [0, 1]."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int) -> nn.Conv2d:
            return nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)

        self.input, self.output = layer(channels, 64), layer(64, channels)
        self.residual_layer = nn.Sequential(
            *(nn.Sequential(OrderedDict(conv=layer(64, 64), relu=nn.ReLU())) for _ in range(18))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.output(self.residual_layer(F.relu(self.input(x))))


def settled(module: nn.Module, seed: int) -> nn.Module:
    """The module, evaluating, with random values everywhere, also in its statistics."""
    torch.manual_seed(seed)
    for name, value in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if value.dim() > 1:
            value.normal_().mul_((1 / value[0].numel()) ** 0.5)
        elif name.endswith("running_mean") or name.endswith("bias"):
            value.normal_().mul_(0.2)
        else:
            value.uniform_(0.5, 1.5)
    return module.eval()
