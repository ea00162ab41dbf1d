"""The explorers as notebook widgets, which also print themselves as HTML for the book."""

from __future__ import annotations

import base64
import html
import json
import sys

import anywidget
import numpy as np
import traitlets

from ddpm_lib.config import InputError
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.explorer import figures, pictures
from ddpm_lib.explorer.mixture import TARGETS
from ddpm_lib.explorer.script import SCRIPT
from ddpm_lib.schedules import build_schedule

KINDS = ("linear", "cosine", "sigmoid")


class _Explorer(anywidget.AnyWidget):
    """A custom element of the script with a trait for each of its attributes."""

    tag = ""
    settings: tuple[str, ...] = ()  # traits that sliders move
    data: tuple[str, ...] = ()  # traits that hold tables

    def __init__(self, name: str, **settings):
        unknown = sorted(set(settings) - set(self.class_own_traits()))
        if unknown:
            raise InputError(
                f"unknown setting {unknown[0]!r}: choose from {', '.join(sorted(self.class_own_traits()))}"
            )
        try:
            super().__init__(**settings)
        except traitlets.TraitError as error:
            raise InputError(str(error)) from error
        self.name = name

    def _repr_mimebundle_(self, **kwargs):
        data, metadata = super()._repr_mimebundle_(**kwargs)
        if "google.colab" not in sys.modules:  # Colab would choose the HTML, which has no script there
            data["text/html"] = self.to_html()
        return data, metadata

    def to_html(self) -> str:
        """Return the element with its settings; inside stands a figure for pages without scripts, and GitHub."""
        attributes = {"name": self.name}
        attributes |= {key: getattr(self, key) for key in self.settings}
        attributes |= {key: json.dumps(getattr(self, key)) for key in self.data}
        text = "".join(f' {key}="{html.escape(str(value))}"' for key, value in attributes.items())
        png, description = self.figure()
        encoded = base64.b64encode(png).decode()
        return (
            f"<{self.tag}{text}>\n"
            f'<p><img src="data:image/png;base64,{encoded}" alt="{html.escape(description)}" width="640"></p>\n'
            "<p><em>A still picture of an interactive figure: its sliders work in the rendered book with scripts on, "
            f"and in a running notebook.</em></p>\n</{self.tag}>"
        )


class ScheduleExplorer(_Explorer):
    """Sliders over the noise schedule, with its curves, a noised picture, and the numbers at step t.

    Args:
        kind: linear, cosine or sigmoid.
        num_steps: T, 2..4000.
        t: the step shown, 1..T: the paper's numbers, not the index.
        beta_start: beta_1, linear only.
        beta_end: beta_T, linear only.
        picture: cat, coffee or checkerboard, or an (H, W) or (H, W, 3) uint8 array, which is shrunk to 64x64.
        name: the explorer's name in the page's address; two of the same name are told apart by their order.

    Raises:
        InputError: if a setting is unknown or out of range.
    """

    _esm = SCRIPT + 'export default globalThis.ddpmExplorers.widget("ddpm-schedule-explorer");\n'
    tag = "ddpm-schedule-explorer"
    settings = ("kind", "num_steps", "t", "beta_start", "beta_end", "picture")
    data = ("pictures",)

    kind = traitlets.Enum(KINDS, "linear").tag(sync=True)
    num_steps = traitlets.Int(1000, min=2, max=4000).tag(sync=True)
    t = traitlets.Int(250, min=1, max=4000).tag(sync=True)
    beta_start = traitlets.Float(1e-4, min=1e-6, max=0.5).tag(sync=True)
    beta_end = traitlets.Float(0.02, min=1e-6, max=0.999).tag(sync=True)
    picture = traitlets.Unicode("cat").tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)

    def __init__(self, kind="linear", *, picture="cat", name="schedule", **settings):
        shown = {key: pictures.picture(key) for key in pictures.NAMES}
        if not isinstance(picture, str):
            shown = {"yours": pictures.shrink(picture)} | shown
            picture = "yours"
        elif picture not in shown:
            raise InputError(f"unknown picture {picture!r}: choose {', '.join(shown)}, or give a uint8 array")
        self._shown = shown[picture]
        if settings.get("t", 1) > settings.get("num_steps", 1000):
            raise InputError(f"t is {settings['t']}, but the schedule has {settings.get('num_steps', 1000)} steps")
        del shown["checkerboard"]  # the script draws its own
        encoded = {key: base64.b64encode(np.ascontiguousarray(pixels)).decode() for key, pixels in shown.items()}
        super().__init__(name, kind=kind, picture=picture, pictures=encoded, **settings)

    def figure(self) -> tuple[bytes, str]:
        """Draw the still picture: PNG bytes and their description."""
        schedule = build_schedule(self.kind, self.num_steps, self.beta_start, self.beta_end)
        return figures.schedule_figure(schedule, self._shown, self.t), (
            f"Four curves over the steps of a {self.kind} schedule with T = {self.num_steps}: beta, alpha-bar, "
            f"signal-to-noise ratio and posterior variance. Below them a picture turns into noise."
        )


class ReverseExplorer(_Explorer):
    """Points go back from noise to data under the exact denoiser of a mixture, step by step.

    Args:
        target: peaks (one dimension), ring or moons (two), or a `ddpm_lib.exact.GaussianMixture` of your own.
        sampler: ddpm or ddim.
        variance: of ddpm's noise: beta or posterior.
        eta: of ddim's noise, 0..1.
        num_steps: how many of the 1000 steps are visited, trailing spacing.
        kind: linear, cosine or sigmoid, with T = 1000.
        step: how many steps are done at the start, 0..num_steps.
        name: the explorer's name in the page's address; two of the same name are told apart by their order.

    Raises:
        InputError: if a setting is unknown or out of range.
    """

    _esm = SCRIPT + 'export default globalThis.ddpmExplorers.widget("ddpm-reverse-explorer");\n'
    tag = "ddpm-reverse-explorer"
    settings = ("target", "sampler", "variance", "eta", "num_steps", "kind", "step")
    data = ("targets",)

    target = traitlets.Unicode("peaks").tag(sync=True)
    sampler = traitlets.Enum(("ddpm", "ddim"), "ddpm").tag(sync=True)
    variance = traitlets.Enum(("beta", "posterior"), "beta").tag(sync=True)
    eta = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    num_steps = traitlets.Int(50, min=1, max=1000).tag(sync=True)
    kind = traitlets.Enum(KINDS, "linear").tag(sync=True)
    step = traitlets.Int(0, min=0, max=1000).tag(sync=True)
    targets = traitlets.Dict().tag(sync=True)

    def __init__(self, target="peaks", *, name="reverse", **settings):
        target, offered = _offer(target, TARGETS, (1, 2))
        if settings.get("step", 0) > settings.get("num_steps", 50):
            raise InputError(f"step is {settings['step']}, but the run has {settings.get('num_steps', 50)} steps")
        self._mixture = offered[target]
        super().__init__(name, target=target, targets=_tables(offered), **settings)

    def figure(self) -> tuple[bytes, str]:
        """Draw the still picture: PNG bytes and their description."""
        schedule = build_schedule(self.kind)
        options = (self.sampler, self.variance, self.eta)
        return figures.reverse_figure(self._mixture, schedule, self.num_steps, *options), (
            f"Five histograms of a sample going back from noise to the target {self.target} in {self.num_steps} steps "
            f"of {self.sampler.upper()}, each beside the exact density."
            if self._mixture.means.shape[1] == 1
            else f"Five pictures of a cloud of points going back from noise to the target {self.target} in "
            f"{self.num_steps} steps of {self.sampler.upper()}."
        )


class SamplersExplorer(_Explorer):
    """Where every sampler ends, side by side, from the same noise and with the exact denoiser of a mixture.

    Args:
        target: ring or moons, or a `ddpm_lib.exact.GaussianMixture` in two dimensions of your own.
        num_steps: how many of the 1000 steps of the linear schedule are visited, 1..250.
        spacing: trailing, leading or linspace, see `timestep_subsequence`.
        name: the explorer's name in the page's address; two of the same name are told apart by their order.

    Raises:
        InputError: if a setting is unknown or out of range.
    """

    _esm = SCRIPT + 'export default globalThis.ddpmExplorers.widget("ddpm-samplers-explorer");\n'
    tag = "ddpm-samplers-explorer"
    settings = ("target", "num_steps", "spacing")
    data = ("targets",)

    target = traitlets.Unicode("moons").tag(sync=True)
    num_steps = traitlets.Int(10, min=1, max=250).tag(sync=True)
    spacing = traitlets.Enum(("trailing", "leading", "linspace"), "trailing").tag(sync=True)
    targets = traitlets.Dict().tag(sync=True)

    def __init__(self, target="moons", *, name="samplers", **settings):
        offered = {key: mixture for key, mixture in TARGETS.items() if mixture.means.shape[1] == 2}
        target, offered = _offer(target, offered, (2,))
        self._mixture = offered[target]
        super().__init__(name, target=target, targets=_tables(offered), **settings)

    def figure(self) -> tuple[bytes, str]:
        """Draw the still picture: PNG bytes and their description."""
        return figures.samplers_figure(self._mixture, build_schedule(), self.num_steps, self.spacing), (
            f"Four clouds of points on the target {self.target}: where DDPM with both variances, DDIM and DPM-Solver++ "
            f"end after {self.num_steps} steps from the same noise."
        )


def _offer(target, offered, dimensions):
    """Put a mixture of the caller's own before the targets on offer; return its key and all of them."""
    if isinstance(target, GaussianMixture):
        if target.means.shape[1] not in dimensions or not target.deviation:
            numbers = " or ".join(map(str, dimensions))
            raise InputError(f"the explorer draws mixtures in {numbers} dimensions, with a deviation above 0")
        return "yours", {"yours": target} | offered
    if target not in offered:
        raise InputError(f"unknown target {target!r}: choose {', '.join(offered)}, or give a GaussianMixture")
    return target, offered


def _tables(offered):
    """Return mixtures as the script reads them."""
    return {
        key: {
            "means": mixture.means.tolist(),
            "weights": mixture.weights.tolist(),
            "deviation": float(mixture.deviation),
        }
        for key, mixture in offered.items()
    }
