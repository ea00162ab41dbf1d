"""Everything that defines a run, as frozen dataclasses with named presets and a JSON round trip."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from typing import Any


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line that says what is wrong and what to do."""


# What can be trained on, and the preset for it when --preset is not given.
DEFAULT_PRESETS = {"digits": "digits16", "fashion_mnist": "fashion32", "celeba": "celeba64", "folder": "celeba64"}
PREDICTIONS = ("noise", "v")
SCHEDULES = ("linear", "cosine", "sigmoid")
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")
MAX_LEVELS = 11  # with 10 poolings 1024 pixels are one
MAX_IMAGE_SIZE = 1024  # pixels; what is larger is no network of this kind, but a slip or a forged file
MIN_ALPHA_BAR = 1e-38  # samplers divide by its square root, and in float32 there is hardly anything below this


def _is(value, kind) -> bool:
    """Tell whether a value is of an annotated type, and finite if it is a number."""
    if isinstance(kind, types.UnionType):
        return any(_is(value, one) for one in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return type(value) is tuple and all(_is(entry, typing.get_args(kind)[0]) for entry in value)
    if kind is float:
        return type(value) is int or (isinstance(value, float) and math.isfinite(value))
    if kind is int:
        return type(value) is int  # neither True nor 64.0, nor a number of NumPy, which JSON cannot hold
    return isinstance(value, typing.get_origin(kind) or kind)


def _check(config, **bounds):
    """Refuse fields that are not of their annotated type, or not between two bounds (each entry of a tuple)."""
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _is(value, kind):
            expected = kind.__name__ if isinstance(kind, type) and kind not in (dict, tuple) else kind
            raise InputError(f"{name} must be {'finite ' if kind is float else ''}{expected}, got {value!r:.80}")
        least, most = bounds.get(name, (None, None))
        for number in () if least is None or value is None else value if isinstance(value, tuple) else (value,):
            if number < least:
                raise InputError(f"{name} must be at least {least}, got {number!s:.40}")
            if number > most:
                raise InputError(f"{name} must be at most {most}, got {number!s:.40}")


def _check_choice(name, value, choices):
    if value not in choices:
        raise InputError(f"unknown {name} {value!r:.80}: choose one of {', '.join(choices)}")


@dataclasses.dataclass(frozen=True)
class UNetConfig:
    """Shape of the U-Net; the defaults are the course's 64x64 face network."""

    image_size: int = 64  # height and width in pixels
    channels: int = 3
    widths: tuple[int, ...] = (32, 64, 128, 256)  # feature channels, one entry a resolution level
    blocks_per_level: int = 2  # ResBlocks on the way down, and as many on the way up
    groups: int = 2  # of every GroupNorm
    attention_resolutions: tuple[int, ...] = (32,)  # of feature maps; the bottleneck always has attention
    heads: int = 8
    attention_dim: int = 256  # over all heads together, so 8 heads of 32
    time_dim: int = 1024  # width of the sinusoidal time embedding and of its MLP
    dropout: float = 0.0
    patch: int = 1  # squares of patch x patch pixels are folded into channels before the network, unfolded after it

    def __post_init__(self):
        _check(
            self,
            image_size=(1, MAX_IMAGE_SIZE),
            channels=(1, 64),
            widths=(1, 16_384),
            blocks_per_level=(1, 32),
            groups=(1, 16_384),
            attention_resolutions=(1, MAX_IMAGE_SIZE),
            heads=(1, 1024),
            attention_dim=(1, 65_536),
            time_dim=(1, 65_536),
            dropout=(0, 0.99),
            patch=(1, MAX_IMAGE_SIZE),
        )
        if not 1 <= len(self.widths) <= MAX_LEVELS:
            raise InputError(f"widths must name 1..{MAX_LEVELS} levels, got {len(self.widths)}")
        pools = len(self.widths) - 1
        smallest = self.patch * 2**pools
        if self.image_size % smallest:
            folded = f" after folding {self.patch}x{self.patch} pixels" if self.patch > 1 else ""
            raise InputError(
                f"image_size {self.image_size} must be a positive multiple of {smallest}: "
                f"{len(self.widths)} widths mean {pools} poolings by 2{folded}"
            )
        for width in self.widths:
            if width % self.groups:
                raise InputError(f"every width must be divisible by groups={self.groups}, got {width}")
        if self.attention_dim % self.heads:
            raise InputError(f"attention_dim {self.attention_dim} must be divisible by heads {self.heads}")
        if self.time_dim % 2:
            raise InputError(f"time_dim {self.time_dim} must be even: it holds sine and cosine pairs")


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """The noise schedule, by name and numbers, and what the network predicts of a noisy image."""

    kind: str = "linear"  # linear | cosine | sigmoid
    num_steps: int = 1000
    beta_start: float = 1e-4  # linear only
    beta_end: float = 0.02  # linear only
    prediction: str = "noise"  # noise | v (Salimans and Ho, 2022); see ddpm_lib.diffusion

    def __post_init__(self):
        # A beta of 1 wipes an image out, and what follows has nothing to go back to.
        _check(self, num_steps=(1, 100_000), beta_start=(1e-12, 0.9999), beta_end=(1e-12, 0.9999))
        _check_choice("schedule kind", self.kind, SCHEDULES)
        _check_choice("prediction", self.prediction, PREDICTIONS)
        if self.kind == "linear":  # the others end above 1e-13, even with 100,000 steps
            slope = (self.beta_end - self.beta_start) / max(1, self.num_steps - 1)
            log_alpha_bar = sum(math.log1p(-self.beta_start - slope * step) for step in range(self.num_steps))
            if log_alpha_bar < math.log(MIN_ALPHA_BAR):
                raise InputError(
                    f"num_steps {self.num_steps}, beta_start {self.beta_start:g} and beta_end {self.beta_end:g} leave "
                    f"nothing of an image (alpha_bar ends at 1e{log_alpha_bar / math.log(10):.0f}): take fewer steps "
                    "or smaller betas"
                )

    @property
    def schedule(self) -> dict[str, Any]:
        """What `ddpm_lib.schedules.build_schedule` takes."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "prediction"}


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What the network is trained on."""

    dataset: str = "digits"  # a key of DEFAULT_PRESETS
    data_dir: str | None = None  # archive or folder, for celeba and folder
    cache_dir: str | None = None  # where prepared images are kept; None: the user's cache folder
    horizontal_flip: bool = False  # mirrored faces are faces; mirrored digits are not digits, nor are most other data
    crop: dict[str, Any] | None = None  # what was cut from photographs, by their size; noted when training starts
    sha256: str | None = None  # of the images as trained on; noted when training starts

    def __post_init__(self):
        _check(self)
        _check_choice("dataset", self.dataset, tuple(DEFAULT_PRESETS))


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Optimization: Algorithm 1 of Ho et al. (2020) with the settings of their code."""

    epochs: int = 10  # in total, over all resumed parts
    steps_per_epoch: int | None = None  # None: one pass over the data
    batch_size: int = 16
    learning_rate: float = 2e-4
    warmup_steps: int = 1000  # linear, from 0 to learning_rate
    clip_norm: float = 1.0  # of the global gradient norm
    ema_decay: float = 0.9999  # reached through a warm-up, see training.ema_decay_at
    min_snr_gamma: float | None = None  # weights the loss (Hang et al., 2023); None: every step counts the same
    precision: str = "float32"  # float32 | mixed_float16 | mixed_bfloat16
    jit: bool = False  # XLA, or torch.compile
    rematerialize: bool = False  # compute activations again in the backward pass: less memory, more time
    seed: int = 0

    def __post_init__(self):
        most = 2**31 - 1  # what a counter of steps holds
        _check(
            self,
            epochs=(1, most),
            steps_per_epoch=(1, most),
            batch_size=(1, most),
            learning_rate=(1e-30, 1e30),
            warmup_steps=(0, most),
            clip_norm=(1e-30, 1e30),
            ema_decay=(0, 1),
            min_snr_gamma=(1e-30, 1e30),
            seed=(0, 2**32 - 1),
        )
        _check_choice("precision", self.precision, PRECISIONS)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run: network, schedule, data and optimization."""

    preset: str = "celeba64"  # where the settings came from
    unet: UNetConfig = UNetConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()

    def __post_init__(self):
        _check(self)
        # A run folder is named after it, and it is printed: no path, and nothing that a terminal obeys.
        if not re.fullmatch(r"[\w-]{1,64}", self.preset, re.ASCII):
            raise InputError(f"preset must be 1..64 letters, digits, - or _, got {self.preset!r:.80}")

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain dictionaries that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """Rebuild from `to_dict`'s result; raises InputError on unknown or missing sections, and on unknown keys.

        A key that is missing has its default, as files of earlier versions need.
        """
        parts = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != set(parts):
            found = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise InputError(f"a run config has the keys {sorted(parts)}, found {found}")
        return cls(**{name: _part(kind, name, values[name]) for name, kind in parts.items()})

    def to_json(self) -> str:
        """Return indented JSON text."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Rebuild from `to_json`'s text; raises InputError on anything else."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(f"a run config is JSON text, but this is not: {error}") from error

    def replace(self, **sections: dict[str, Any]) -> RunConfig:
        """Return a copy with some fields changed.

        >>> RunConfig().replace(train={"seed": 1}).train.seed
        1
        """
        changed = {name: dataclasses.replace(getattr(self, name), **values) for name, values in sections.items()}
        return dataclasses.replace(self, **changed)


def _part(kind, name, values):
    if not dataclasses.is_dataclass(kind):
        return values
    if not isinstance(values, dict):
        raise InputError(f"config section {name!r} must be a dictionary, got {values!r:.80}")
    known = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise InputError(f"unknown key {unknown[0]!r} in config section {name!r}; known keys: {sorted(known)}")
    # JSON has lists where the dataclasses have tuples.
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


PRESETS: dict[str, RunConfig] = {
    # 1,797 handwritten digits of scikit-learn at 16x16: minutes on two CPU cores.
    "digits16": RunConfig(
        preset="digits16",
        unet=UNetConfig(16, 1, (32, 64), attention_resolutions=(), heads=4, attention_dim=64, time_dim=128),
        data=DataConfig("digits"),
        train=TrainConfig(epochs=24, batch_size=64, learning_rate=1e-3, warmup_steps=100, ema_decay=0.995),
    ),
    # Fashion-MNIST padded to 32x32.
    "fashion32": RunConfig(
        preset="fashion32",
        unet=UNetConfig(32, 1, (32, 64, 128), attention_resolutions=(), heads=4, attention_dim=128, time_dim=256),
        data=DataConfig("fashion_mnist"),
        train=TrainConfig(epochs=10, batch_size=64, learning_rate=5e-4, warmup_steps=500, ema_decay=0.999),
    ),
    # Faces small enough for a CPU: 0.67 GFLOP a forward pass. Attention at 8 pixels alone: at 16 it would cost a
    # quarter of the speed.
    "faces32": RunConfig(
        preset="faces32",
        unet=UNetConfig(32, 3, (32, 64, 160), attention_resolutions=(), heads=4, attention_dim=128, time_dim=256),
        data=DataConfig("celeba", horizontal_flip=True),
        train=TrainConfig(epochs=40, batch_size=32, learning_rate=4e-4, warmup_steps=500, ema_decay=0.9995),
    ),
    # Faces at 64x64 for what faces32 costs, 0.68 GFLOP a forward pass: 2x2 pixels are folded into channels.
    "faces64": RunConfig(
        preset="faces64",
        unet=UNetConfig(64, 3, (32, 64, 160), 2, 2, (), heads=4, attention_dim=128, time_dim=256, patch=2),
        diffusion=DiffusionConfig("cosine", prediction="v"),
        data=DataConfig("celeba", horizontal_flip=True),
        train=TrainConfig(epochs=130, batch_size=32, learning_rate=4e-4, warmup_steps=500, ema_decay=0.9995),
    ),
    # The course's network: CelebA at 64x64.
    "celeba64": RunConfig(
        data=DataConfig("celeba", horizontal_flip=True),
        # Ho et al. warm up for 5,000 steps with 8 times the batch; an epoch here has 12,662 steps.
        train=TrainConfig(epochs=10, batch_size=16, learning_rate=2e-4, warmup_steps=1000, ema_decay=0.9999),
    ),
}
