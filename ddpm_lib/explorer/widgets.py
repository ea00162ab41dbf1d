"""The explorers as notebook widgets, which also print themselves as HTML for the book."""

from __future__ import annotations

import base64
import html
import json
import sys

import anywidget
import numpy as np
import traitlets

from ddpm_lib.config import SCHEDULES, InputError
from ddpm_lib.exact import GaussianMixture
from ddpm_lib.explorer import figures, pictures
from ddpm_lib.explorer.mixture import TARGETS
from ddpm_lib.explorer.points import REACH, SHAPES
from ddpm_lib.explorer.script import SCRIPT
from ddpm_lib.schedules import build_schedule


class _Explorer(anywidget.AnyWidget):
    """A custom element of the script with a trait for each of its attributes."""

    tag = ""
    settings: tuple[str, ...] = ()  # traits that sliders move
    data: tuple[str, ...] = ()  # traits that hold tables
    _ipython_display_ = None  # of ipywidgets 7, as on Colab: it shows neither the still nor all that Colab asks for

    def __init_subclass__(cls, **options):
        if "tag" in vars(cls):  # an object's own class, made by its traits, has none
            cls._esm = f'{SCRIPT}export default globalThis.ddpmExplorers.widget("{cls.tag}");\n'
        super().__init_subclass__(**options)

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

    tag = "ddpm-schedule-explorer"
    settings = ("kind", "num_steps", "t", "beta_start", "beta_end", "picture")
    data = ("pictures",)

    kind = traitlets.Enum(SCHEDULES, "linear").tag(sync=True)
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
        del shown["checkerboard"]  # the script draws its own
        encoded = {key: base64.b64encode(np.ascontiguousarray(pixels)).decode() for key, pixels in shown.items()}
        super().__init__(name, kind=kind, picture=picture, pictures=encoded, **settings)
        if "t" not in settings:
            self.t = min(self.t, self.num_steps)
        if self.t > self.num_steps:
            raise InputError(f"t is {self.t}, but the schedule has {self.num_steps} steps")

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

    tag = "ddpm-reverse-explorer"
    settings = ("target", "sampler", "variance", "eta", "num_steps", "kind", "step")
    data = ("targets",)

    target = traitlets.Unicode("peaks").tag(sync=True)
    sampler = traitlets.Enum(("ddpm", "ddim"), "ddpm").tag(sync=True)
    variance = traitlets.Enum(("beta", "posterior"), "beta").tag(sync=True)
    eta = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    num_steps = traitlets.Int(50, min=1, max=1000).tag(sync=True)
    kind = traitlets.Enum(SCHEDULES, "linear").tag(sync=True)
    step = traitlets.Int(0, min=0, max=1000).tag(sync=True)
    targets = traitlets.Dict().tag(sync=True)

    def __init__(self, target="peaks", *, name="reverse", **settings):
        target, offered = _offer(target, TARGETS, (1, 2))
        self._mixture = offered[target]
        super().__init__(name, target=target, targets=_tables(offered), **settings)
        if self.step > self.num_steps:
            raise InputError(f"step is {self.step}, but the run has {self.num_steps} steps")

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


class Denoiser(_Explorer):
    """A trained network runs in the page, from noise to images, step by step.

    The network, the samplers and NumPy's noise are computed by the page itself. In the book the file of a model lies
    beside the page, in a notebook it comes from the kernel; either way only when a button is pressed.

    Args:
        model: the name of a model that comes with the project.
        sampler: ddpm, ddim or dpm++, as in `generate.py`.
        variance: of ddpm's noise: beta or posterior.
        eta: of ddim's noise, 0..1.
        num_steps: how many of the model's steps are visited, trailing spacing.
        seed: of the first image, as in `generate.py`; the next ones count up.
        images: how many, 1, 4 or 9.
        start: noise, or a painting of the reader's, which is noised first (Meng et al., 2022).
        strength: of the painting's noise: the share of all steps that it is carried up, and walks back.
        name: the explorer's name in the page's address; two of the same name are told apart by their order.

    Raises:
        InputError: if a setting is unknown or out of range.
    """

    tag = "ddpm-denoiser"
    settings = ("model", "sampler", "variance", "eta", "num_steps", "seed", "images", "start", "strength")
    data = ("models",)

    model = traitlets.Unicode("digits").tag(sync=True)
    sampler = traitlets.Enum(("ddpm", "ddim", "dpm++"), "ddim").tag(sync=True)
    variance = traitlets.Enum(("beta", "posterior"), "beta").tag(sync=True)
    eta = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    num_steps = traitlets.Int(20, min=1, max=1000).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**32 - 1 - 16).tag(sync=True)
    images = traitlets.Enum(("1", "4", "9"), "4").tag(sync=True)
    start = traitlets.Enum(("noise", "painting"), "noise").tag(sync=True)
    strength = traitlets.Float(0.4, min=0.05, max=0.95).tag(sync=True)
    models = traitlets.Dict().tag(sync=True)

    def __init__(self, model="digits", *, name="denoiser", **settings):
        offered = _offered_models()
        if model not in offered:
            raise InputError(f"unknown model {model!r}: choose one of {', '.join(offered)}")
        super().__init__(name, model=model, models=offered, **settings)
        self.on_msg(self._send_model)

    def _send_model(self, _, content, buffers):
        """Answer the page's question for the file of a model."""
        name = content.get("model")
        if name not in self.models:
            self.send({"model": name, "error": f"there is no model {name}"})
            return
        self.send({"model": name}, [_shipped()[name]["path"].read_bytes()])

    def figure(self) -> tuple[bytes, str]:
        """Draw the still picture: PNG bytes and their description."""
        return figures.denoiser_figure(self.model, self.seed), (
            f"Six moments on the way from noise to an image, by the model {self.model}, seed {self.seed}. Above, the "
            "image with less and less noise. Below, the network's guess of the clean image, blurred at first."
        )


class TrainingExplorer(_Explorer):
    """The reader draws points, and small networks learn them in the page: one predicts x_0, one the noise, one v.

    The three begin with the same weights and see the same batches. Beside a network's answers stand those of the exact
    denoiser. Everything is computed in the page.

    Args:
        shape: moons, ring or spiral, or (N, 2) points of your own, at most 300, within -2.6 and 2.6.
        target: of the network shown: x_0, noise or v.
        num_steps: how many steps of training, 100..5000; the learning rate falls to 0 over them.
        seed: of the first weights and the batches.
        t: the step at which answers are drawn, 1..1000.
        error: what the table compares: noise, or image.
        name: the explorer's name in the page's address; two of the same name are told apart by their order.

    Raises:
        InputError: if a setting is unknown or out of range.
    """

    tag = "ddpm-training-explorer"
    settings = ("shape", "target", "num_steps", "seed", "t", "error")
    data = ("shapes",)

    shape = traitlets.Unicode("moons").tag(sync=True)
    target = traitlets.Enum(("x_0", "noise", "v"), "noise").tag(sync=True)
    num_steps = traitlets.Int(1000, min=100, max=5000).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=10**6).tag(sync=True)
    t = traitlets.Int(50, min=1, max=1000).tag(sync=True)
    error = traitlets.Enum(("noise", "image"), "noise").tag(sync=True)
    shapes = traitlets.Dict().tag(sync=True)

    def __init__(self, shape="moons", *, name="training", **settings):
        shapes = {key: points.tolist() for key, points in SHAPES.items()}
        if not isinstance(shape, str):
            points = np.asarray(shape, np.float64)
            if points.ndim != 2 or points.shape[1] != 2 or not 1 <= len(points) <= 300:
                raise InputError(f"points are an (N, 2) array, N at most 300: got shape {points.shape}")
            if not (np.abs(points) <= REACH).all():
                raise InputError(f"points must lie within -{REACH} and {REACH}")
            shape, shapes = "yours", {"yours": points.tolist()} | shapes
        elif shape not in shapes:
            raise InputError(f"unknown shape {shape!r}: choose {', '.join(shapes)}, or give an (N, 2) array")
        super().__init__(name, shape=shape, shapes=shapes, **settings)

    def figure(self) -> tuple[bytes, str]:
        """Draw the still picture: PNG bytes and their description."""
        return figures.training_figure(np.array(self.shapes[self.shape]), build_schedule()), (
            f"{len(self.shapes[self.shape])} points, and the exact denoiser for them at three steps. Its arrows "
            "go from noisy points towards the clean one: the nearest at a small step, the middle of all at a large one."
        )


class CostExplorer(_Explorer):
    """What a training step takes on a card whose numbers the reader enters: time, memory, and what it waits for.

    Args:
        card: one of `ddpm_lib.cost.DEVICES`.
        config: the network, a `UNetConfig`; the preset celeba64 by default.
        float32: peak TFLOP/s of the card in float32; it and the next three stand for a card of your own.
        half: peak TFLOP/s with factors in halves.
        bandwidth: GB/s.
        memory: GB.
        batch_size: images, 1..4096.
        precision: float32 or mixed_float16.
        attention: plain, singly or fused, as in `ddpm_lib.cost.step_cost`.
        rematerialize: no or yes.
        efficiency: share of the two peaks that a step reaches, 0.01..1.
        name: the explorer's name in the page's address; two of the same name are told apart by their order.

    Raises:
        InputError: if a setting is unknown or out of range.
    """

    tag = "ddpm-cost-explorer"
    settings = (
        *("card", "float32", "half", "bandwidth", "memory"),
        *("batch_size", "precision", "attention", "rematerialize", "efficiency"),
    )
    data = ("costs",)

    card = traitlets.Unicode("T4").tag(sync=True)
    float32 = traitlets.Float(8.1, min=1e-3, max=1e5).tag(sync=True)
    half = traitlets.Float(65.0, min=1e-3, max=1e5).tag(sync=True)
    bandwidth = traitlets.Float(320.0, min=0.1, max=1e6).tag(sync=True)
    memory = traitlets.Float(16.0, min=0.1, max=1e4).tag(sync=True)
    batch_size = traitlets.Int(16, min=1, max=4096).tag(sync=True)
    precision = traitlets.Enum(("float32", "mixed_float16"), "float32").tag(sync=True)
    attention = traitlets.Enum(("plain", "singly", "fused"), "plain").tag(sync=True)
    rematerialize = traitlets.Enum(("no", "yes"), "no").tag(sync=True)
    efficiency = traitlets.Float(0.5, min=0.01, max=1.0).tag(sync=True)
    costs = traitlets.Dict().tag(sync=True)

    def __init__(self, card="T4", config=None, *, name="cost", **settings):
        from ddpm_lib.config import PRESETS
        from ddpm_lib.cost import DEVICES  # late: it imports Keras, which the other explorers do not need
        from ddpm_lib.explorer.costs import cost_table, device_numbers

        if card not in DEVICES:
            raise InputError(f"unknown card {card!r}: choose one of {', '.join(DEVICES)}, or give numbers of your own")
        numbers = device_numbers(card)
        settings = numbers | settings
        if any(settings[key] != numbers[key] for key in numbers):
            card = "your own"
        super().__init__(name, card=card, costs=cost_table(config or PRESETS["celeba64"].unet), **settings)

    def figure(self) -> tuple[bytes, str]:
        """Draw the still picture: PNG bytes and their description."""
        from ddpm_lib.explorer.costs import layer_costs  # late, as above

        peak = 1e12 * (self.float32 if self.precision == "float32" else self.half)
        options = (self.batch_size, self.precision, self.attention, self.rematerialize)
        return figures.roofline_figure(layer_costs(self.costs, *options), peak, 1e9 * self.bandwidth), (
            "The layers of the network as dots under a roof: the speed that each can reach over its FLOPs per byte. "
            f"The roof rises with the bandwidth of {self.bandwidth:g} GB/s up to the peak, and is flat from there on."
        )


def _shipped():
    """Return the manifest of the models that come with the project."""
    from ddpm_lib.checkpoints import shipped_models  # late: it imports Keras, which the other explorers do not need

    return shipped_models()


def _offered_models():
    """Return what the panel says of each model before it is loaded, by name."""
    from ddpm_lib.checkpoints import read_config  # late, as above

    shipped = _shipped().items()
    return {name: {"bytes": entry["bytes"], "channels": read_config(name).unet.channels} for name, entry in shipped}


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
