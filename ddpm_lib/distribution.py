"""Training on several devices: every device holds the whole network and takes an equal share of each batch.

The engines are Keras's: `tf.distribute` on TensorFlow, `keras.distribution` on JAX. Whatever the number of devices, a
run computes what it computes on one, but for rounding, because

* every device draws the random steps and noise of the whole batch from the one seed, and takes the rows of its share;
* the gradient is the mean over the whole batch before its norm is clipped;
* losses are booked over all devices.

On JAX a step is written for whole arrays, and the compiler divides the work: all of this is so by itself. On TensorFlow
the step runs once a device, on its share of the batch, and the functions here make it so.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator

import keras
import numpy as np

from ddpm_lib.config import InputError

TF_VARIABLE = "TF_CONFIG"
JAX_VARIABLES = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)

# After how many seconds without a sign of life a process counts as gone, where its connections were not closed.
HEARTBEAT_SECONDS = 20


# TensorFlow's strategy of the `with` statement under way: None for one device, and on other backends.
_strategy = None


@contextlib.contextmanager
def several_devices(devices: int | str = 1) -> Iterator[int]:
    """Make and train a trainer on several devices, for the time of a `with` statement.

    Begin a program with it: the engines want to know before they compute anything. Where there is no GPU, several
    logical devices share the processors of this machine, which is for learning and testing: nothing gets faster.

    A run on several machines is one process on each, all with the same settings. They find each other by the variables
    of their engine: TF_CONFIG, or KERAS_DISTRIBUTION_JOB_ADDRESSES, _NUM_PROCESSES and _PROCESS_ID on JAX.

    Args:
        devices: how many of each machine, or "all": every GPU. With 1, and on one machine, this does nothing.

    Yields:
        The number of devices of all machines.

    Raises:
        InputError: if there are fewer, if the variables are wrong, or if the backend is PyTorch.
    """
    backend = keras.backend.backend()
    cluster = processes_named()
    if devices == 1 and cluster is None:
        yield 1
        return
    if backend == "torch":
        raise InputError(
            "several devices work on TensorFlow and JAX, not on PyTorch: set KERAS_BACKEND=tensorflow or jax, "
            "or train on 1 device"
        )
    engine = (_tensorflow_engine if backend == "tensorflow" else _jax_engine)(devices, cluster)
    if engine is None:
        yield 1
    elif backend == "jax":
        with engine.scope():
            yield num_devices()
    else:
        global _strategy
        _strategy = engine
        try:
            yield num_devices()
        finally:
            _strategy = None


def processes_named():
    """Read from the engine's variables which processes make up the run, before the engine begins.

    Returns:
        Their number on TensorFlow, the arguments of `jax.distributed.initialize` on JAX, and None where this process is
        the only one.

    Raises:
        InputError: if the variables are wrong, or are those of another backend.
    """
    backend = keras.backend.backend()
    try:
        text = os.environ.get(TF_VARIABLE) or "{}"
        jobs, task = (json.loads(text).get(name, {}) for name in ("cluster", "task"))
        tf_processes = sum(len(jobs.get(job, [])) for job in ("chief", "worker"))
        has_task = task.get("type") in jobs and task.get("index") in range(len(jobs[task["type"]]))
    except (ValueError, AttributeError, TypeError):
        raise InputError(f"{TF_VARIABLE} is not what TensorFlow's guide on several workers describes: {text}") from None
    addresses, number, own = (os.environ.get(name) for name in JAX_VARIABLES)
    try:
        jax_processes = int(number or 1)
        if jax_processes > 1 and not (addresses and 0 <= int(own or -1) < jax_processes):
            raise ValueError
    except ValueError:
        raise InputError(
            f"{', '.join(JAX_VARIABLES)} must be the address of process 0, the number of processes, and which one this "
            f"is, from 0 on; they are {addresses}, {number} and {own}"
        ) from None
    if max(tf_processes, jax_processes) < 2:
        return None
    if backend == "tensorflow" and tf_processes > 1:
        if not has_task:
            raise InputError(f"{TF_VARIABLE} does not say which task of its cluster this process is: {text}")
        return tf_processes
    if backend == "jax" and jax_processes > 1:
        return addresses.split(",")[0], jax_processes, int(own)
    names = TF_VARIABLE if tf_processes > 1 else JAX_VARIABLES[0]
    raise InputError(
        f"{names} names several processes, and the backend is {backend}: {TF_VARIABLE} is for TensorFlow, "
        f"{', '.join(JAX_VARIABLES)} are for JAX"
    )


def _tensorflow_engine(devices, cluster):
    import tensorflow as tf

    if gpus := tf.config.list_physical_devices("GPU"):
        number = _enough(devices, len(gpus), "GPUs")
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun: it sees all of them
            tf.config.set_visible_devices(gpus[:number], "GPU")
    elif cluster:
        number = _enough(devices, 1, "processors: each machine without GPUs is one device on TensorFlow")
    elif (number := 1 if devices == "all" else devices) > 1:
        with contextlib.suppress(RuntimeError):  # TensorFlow has begun: there are as many as there are
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
        _enough(number, len(tf.config.list_logical_devices("CPU")), "logical devices: begin a new process with this")
    if cluster:
        return tf.distribute.MultiWorkerMirroredStrategy()
    names = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
    return tf.distribute.MirroredStrategy(names[:number]) if number > 1 else None


def _jax_engine(devices, cluster):
    import jax

    with contextlib.suppress(RuntimeError):  # JAX has begun: there are as many as there are
        jax.config.update("jax_num_cpu_devices", 1 if devices == "all" else devices)
    if cluster:
        # As keras.distribution.initialize does, but for the time until a silent process counts as gone: 100 s there.
        jax.distributed.initialize(*cluster, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    kind = "logical devices: begin a new process with this" if jax.default_backend() == "cpu" else "GPUs"
    chosen = []
    for process in range(jax.process_count()):
        local = jax.local_devices(process_index=process)
        number = _enough(1 if devices == "all" and jax.default_backend() == "cpu" else devices, len(local), kind)
        chosen += [f"{device.platform}:{device.id}" for device in local[:number]]
    if len(chosen) == 1:
        return None
    # Each process serves its share of the batches itself.
    return keras.distribution.DataParallel(devices=chosen, auto_shard_dataset=False)


def _enough(wanted, there, kind):
    """Return how many devices are wanted; raise InputError if there are fewer."""
    if wanted != "all" and wanted > there:
        raise InputError(f"{wanted} devices are asked for, and there are {there} {kind}")
    return there if wanted == "all" else wanted


def scope() -> contextlib.AbstractContextManager:
    """Return what a trainer is made in: on TensorFlow its variables get a copy on every device."""
    return contextlib.nullcontext() if _strategy is None else _strategy.scope()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one process do something that the others do not, as saving a file.

    Keras makes a variable when it saves. On several machines that would wait for the others to make it as well.
    """
    engine = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(engine)


def num_devices() -> int:
    """Return over how many devices a batch is divided."""
    if _strategy is not None:
        return _strategy.num_replicas_in_sync
    engine = keras.distribution.distribution()
    return 1 if engine is None else engine.device_mesh.devices.size


def process() -> tuple[int, int]:
    """Tell which process of the run this is, from 0 on, and how many there are; process 0 writes the files."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.process_index(), jax.process_count()
    if _strategy is None or _strategy.cluster_resolver is None:
        return 0, 1
    resolver = _strategy.cluster_resolver
    jobs = resolver.cluster_spec().as_dict()
    chiefs, workers = (len(jobs.get(job, [])) for job in ("chief", "worker"))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0), chiefs + workers


def writes_files() -> bool:
    """Tell whether this process is the one of the run that writes files."""
    return process()[0] == 0


def check_agreement(what: str) -> None:
    """Wait for the other processes of the run, and see that they say the same.

    Raises:
        InputError: if they do not.
    """
    if process()[1] == 1:
        return
    own = float(zlib.crc32(what.encode()))
    if _strategy is not None:
        import tensorflow as tf

        @tf.function
        def mean_of_all():
            return _strategy.reduce("MEAN", _strategy.run(lambda: tf.constant(own, tf.float64)), axis=None)

        mean = float(mean_of_all())
    else:
        from jax.experimental import multihost_utils

        # As bytes: JAX has no float64 by default.
        everyone = multihost_utils.process_allgather(np.frombuffer(np.float64(own).tobytes(), np.uint8))
        mean = np.asarray(everyone).reshape(-1, 8).copy().view(np.float64).mean()
    if mean != own:
        raise InputError(
            "the processes of this run differ in their settings or their state: start all with the same flags, "
            "the same data and the same --resume file"
        )


def lost_another(error: BaseException) -> bool:
    """Tell whether an error means that another process of the run is gone."""
    signs = "collective|gloo|nccl|coordination|heartbeat|socket closed|connection (reset|refused|closed)"
    return process()[1] > 1 and re.search(signs, f"{type(error).__name__} {error}", re.IGNORECASE) is not None


def check_run(batch_size: int, dropout: float) -> None:
    """Refuse what several devices would not do as one does.

    Raises:
        InputError: if the batch cannot be divided evenly, or if dropout on TensorFlow would drop the same features on
            every device.
    """
    devices = num_devices()
    if batch_size % devices:
        below = batch_size - batch_size % devices
        sizes = f"{below} or {below + devices}" if below else str(devices)
        raise InputError(
            f"a batch of {batch_size} images cannot be divided evenly over {devices} devices: take {sizes} images"
        )
    if dropout and _strategy is not None:
        raise InputError(
            "dropout on several devices works on JAX alone: on TensorFlow all would drop the same features; "
            "set KERAS_BACKEND=jax, or train on 1 device"
        )


def replica() -> tuple:
    """Tell which share of the batch the step under way has before it: (index, number of shares); (0, 1) for all of it.

    The index is a tensor where several devices run the same step on TensorFlow.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            return context.replica_id_in_sync_group, context.num_replicas_in_sync
    return 0, 1


def summed(tensors: list) -> list:
    """Sum tensors over all devices, in the middle of a step; where a step has the whole batch they are sums already."""
    if replica()[1] == 1:
        return tensors
    import tensorflow as tf

    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, list(tensors))


def sum_before_clipping(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Let an optimizer on TensorFlow sum the gradients of all devices first; elsewhere it does nothing.

    Keras clips the gradient of each device's share, and sums after that: the norm of a share is not that of the batch.
    Under float16 it judges by the share of the first device whether a gradient is finite.
    """
    if _strategy is None:
        return optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
    inner._all_reduce_sum_gradients = lambda gradients_and_weights: gradients_and_weights  # they are sums already
    apply = optimizer.apply
    optimizer.apply = lambda grads, trainable_variables=None: apply(summed(grads), trainable_variables)
    return optimizer


def train_function(trainer: keras.Model) -> Callable | None:
    """Return the function that `fit` calls for each step on several devices of TensorFlow; None elsewhere.

    Keras's own fails on several machines, and would compile the whole step with XLA, which devices cannot share.
    """
    strategy = _strategy
    if strategy is None:
        return None
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)
    def step(iterator):
        logs = strategy.run(trainer.train_step, args=(next(iterator),))
        return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

    return step


def feed(batches):
    """Turn batches into what `fit` takes on several devices of TensorFlow; elsewhere they are that.

    Args:
        batches: a `PyDataset` without end whose items are arrays (B, H, W, C) float32.
    """
    strategy = _strategy
    if strategy is None:
        return batches
    import tensorflow as tf

    def dataset(context):
        shares = context.num_replicas_in_sync // context.num_input_pipelines
        first = batches[0]
        spec = tf.TensorSpec((len(first) // shares, *first.shape[1:]), first.dtype)

        def rows():
            for index in itertools.count():
                for share in np.split(batches[index], shares):
                    yield (share,)

        return tf.data.Dataset.from_generator(rows, output_signature=(spec,)).prefetch(2 * shares)

    return strategy.distribute_datasets_from_function(dataset)
