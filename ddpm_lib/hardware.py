"""What the machine offers: device report, memory growth, precision by compute capability, compiled functions.

Beside this module `distribution.py` names backends, one branch of `training.py`, and in `cli/` the modules
`conventions.py`, `train.py` and `watching.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import keras

from ddpm_lib.config import InputError

# From which CUDA compute capability on a training runs under which policy, and why: the first row that a GPU reaches.
PRECISION_BY_CAPABILITY = (
    ((8, 0), "mixed_bfloat16", "has bfloat16 tensor cores"),
    ((7, 0), "mixed_float16", "has float16 tensor cores"),
    ((0, 0), "float32", "has no tensor cores"),
)


def gpus() -> list[tuple[str, tuple[int, int] | None]]:
    """List the GPUs that the current backend sees: name and CUDA compute capability (None where it has none)."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = []
        for device in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(device)
            found.append((details.get("device_name", device.name), details.get("compute_capability")))
        return found
    if backend == "jax":
        import jax

        accelerators = [device for device in jax.devices() if device.platform == "gpu"]
        return [(device.device_kind, _as_version(device.compute_capability)) for device in accelerators]
    import torch

    count = torch.cuda.device_count()
    return [(torch.cuda.get_device_name(i), torch.cuda.get_device_capability(i)) for i in range(count)]


def _as_version(text):
    major, minor = str(text).split(".")
    return int(major), int(minor)


def device_report() -> str:
    """Describe backend, versions and devices in one line."""
    backend = keras.backend.backend()
    version = __import__(backend).__version__
    names = [
        name if capability is None else f"{name} (compute capability {capability[0]}.{capability[1]})"
        for name, capability in gpus()
    ]
    return f"Keras {keras.__version__} on {backend} {version}, {', '.join(names) or 'CPU only'}"


def enable_memory_growth() -> None:
    """Let TensorFlow take GPU memory as it needs it, so that other processes keep theirs; other backends do already.

    It does not make a model smaller: a batch that does not fit still does not fit.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # In a notebook TensorFlow may be using the GPU already; then it is too late, and no harm.
        with contextlib.suppress(RuntimeError):
            for device in tf.config.list_physical_devices("GPU"):
                tf.config.experimental.set_memory_growth(device, True)


def precision_for(capability: tuple[int, int] | None) -> tuple[str, str]:
    """Look the precision policy up in `PRECISION_BY_CAPABILITY`.

    Args:
        capability: CUDA compute capability of a GPU, such as (7, 5); None for a device that has none.

    Returns:
        The policy, and the reason in words.

    Raises:
        InputError: a capability below (0, 0).
    """
    if capability is None:
        return "float32", "no GPU with a compute capability found"
    for lowest, policy, reason in PRECISION_BY_CAPABILITY:
        if capability >= lowest:
            return policy, f"compute capability {capability[0]}.{capability[1]} {reason}"
    raise InputError(f"capability must be a pair of numbers from (0, 0) on, got {capability}")


def choose_precision(request: str = "auto") -> tuple[str, str]:
    """Settle the precision policy of a training run.

    Args:
        request: a Keras policy, or "auto": what `precision_for` says of the oldest GPU.

    Returns:
        The policy, and the reason in words.
    """
    if request != "auto":
        return request, "as asked for"
    return precision_for(min((capability for _, capability in gpus() if capability is not None), default=None))


def choose_jit(request: str = "auto") -> bool:
    """Settle whether training steps are compiled by XLA (or torch.compile): "on", "off", or "auto" = with a GPU.

    On the JAX backend steps are always compiled, and this makes no difference.
    """
    if request == "auto":
        return keras.backend.backend() == "tensorflow" and bool(gpus())
    return request == "on"


def must_compile() -> bool:
    """Tell whether the backend trains one operation at a time, many times slower, unless the whole step is compiled."""
    return keras.backend.backend() == "jax"


def has_fused_attention() -> bool:
    """Tell whether the backend's own attention is used, as on JAX and PyTorch.

    PyTorch's keeps no scores. JAX's keeps none in 16 bits on newer GPUs; elsewhere it writes them all.
    """
    return keras.backend.backend() != "tensorflow"


def compiled(network: keras.Model) -> Callable:
    """Wrap a network for inference: `tf.function`, `jax.jit`, or PyTorch without gradients.

    Traced once for each shape of its arguments. The weights are read at every call, so a network that is still being
    trained gives its present answer.

    Args:
        network: a model of [x_t, t].

    Returns:
        predict_noise(x_t (B, H, W, C) float32, t (B,) int32) -> (B, H, W, C) float32.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda x_t, t: network([x_t, t], training=False), reduce_retracing=True)
    if backend == "jax":
        import jax

        # jax.jit would freeze weights that it reaches through the closure, so they are passed in.
        @jax.jit
        def apply(trainable, non_trainable, x_t, t):
            return network.stateless_call(trainable, non_trainable, [x_t, t], training=False)[0]

        def predict_noise(x_t, t):
            trainable = [variable.value for variable in network.trainable_variables]
            non_trainable = [variable.value for variable in network.non_trainable_variables]
            return apply(trainable, non_trainable, x_t, t)

        return predict_noise
    import torch

    def predict_noise_eagerly(x_t, t):
        with torch.no_grad():
            return network([x_t, t], training=False)

    return predict_noise_eagerly
