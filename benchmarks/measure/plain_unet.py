"""A U-Net of the shape of diffusers' `UNet2DModel`, in plain PyTorch, for machines that have PyTorch alone.

The same operations on the same shapes as `measure.peers.diffusers_unet` builds, so the same number of weights and of
FLOPs: a skip after every block and one more block a level on the way up, strided convolutions down, nearest-neighbour
upsampling and a convolution up, attention after every block of its level, time by scale and shift.
"""

import math

import torch
from torch import nn
from torch.nn import functional

from ddpm_lib.config import UNetConfig


class Block(nn.Module):
    """Norm, SiLU and convolution twice, told the time between them, added to a shortcut."""

    def __init__(self, width_in: int, width: int, groups: int, time_dim: int):
        super().__init__()
        self.norm_1 = nn.GroupNorm(groups, width_in, 1e-5)
        self.conv_1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.scale_and_shift = nn.Linear(time_dim, 2 * width)
        self.norm_2 = nn.GroupNorm(groups, width, 1e-5)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)

    def forward(self, x, time):
        """Map x (B, C, H, W) and the time embedding (B, D) to (B, width, H, W)."""
        h = self.conv_1(functional.silu(self.norm_1(x)))
        scale, shift = self.scale_and_shift(functional.silu(time))[:, :, None, None].chunk(2, dim=1)
        h = self.norm_2(h) * (1 + scale) + shift
        return self.shortcut(x) + self.conv_2(functional.silu(h))


class Attention(nn.Module):
    """Multi-head attention over all pixels, as wide as its input, added to it."""

    def __init__(self, width: int, heads: int, groups: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, width, 1e-5)
        self.query, self.key, self.value, self.project = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        """Map x (B, C, H, W) to the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        query, key, value = (
            layer(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return x + self.project(mixed.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(x.shape)


class PlainUNet(nn.Module):
    """Predict the noise in x_t, like diffusers with the widths, blocks, groups and heads of one of our networks.

    Args:
        config: the shape.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        widths, groups = config.widths, config.groups
        self.sinusoid_dim = widths[0]
        self.time_1, self.time_2 = nn.Linear(widths[0], 4 * widths[0]), nn.Linear(4 * widths[0], 4 * widths[0])
        self.stem = nn.Conv2d(config.channels, widths[0], 3, padding=1)

        def block(width_in, width, attends):
            module = nn.ModuleDict({"block": Block(width_in, width, groups, 4 * widths[0])})
            if attends:
                module["attention"] = Attention(width, config.heads, groups)
            return module

        attends = [config.image_size // 2**level in config.attention_resolutions for level in range(len(widths))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width, skips = widths[0], [widths[0]]
        for level, wanted in enumerate(widths):
            for _ in range(config.blocks_per_level):
                self.down.append(block(width, wanted, attends[level]))
                width = wanted
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                skips.append(width)
        self.middle = nn.ModuleList([block(width, width, True), block(width, width, False)])
        self.middle[0]["attention"].norm = nn.Identity()  # with scale and shift diffusers has none here
        for level, wanted in reversed(list(enumerate(widths))):
            for _ in range(config.blocks_per_level + 1):
                self.up.append(block(width + skips.pop(), wanted, attends[level]))
                width = wanted
            if level > 0:
                self.up.append(nn.Conv2d(width, width, 3, padding=1))
        self.head_norm = nn.GroupNorm(groups, width, 1e-5)
        self.head = nn.Conv2d(width, config.channels, 3, padding=1)

    def forward(self, x, t):
        """Map x_t (B, C, H, W) and t (B,) to (B, C, H, W)."""
        half = self.sinusoid_dim // 2
        frequencies = torch.exp(-math.log(10_000) / half * torch.arange(half, device=t.device))
        angles = t[:, None] * frequencies
        time = self.time_2(functional.silu(self.time_1(torch.cat([angles.cos(), angles.sin()], dim=1))))

        def apply(module, x):
            x = module["block"](x, time)
            return module["attention"](x) if "attention" in module else x

        x = self.stem(x)
        skips = [x]
        for module in self.down:
            x = module(x) if isinstance(module, nn.Conv2d) else apply(module, x)
            skips.append(x)
        for module in self.middle:
            x = apply(module, x)
        for module in self.up:
            if isinstance(module, nn.Conv2d):
                x = module(functional.interpolate(x, scale_factor=2.0))
            else:
                x = apply(module, torch.cat([x, skips.pop()], dim=1))
        return self.head(functional.silu(self.head_norm(x)))
