"""What the benchmarks share: processes that run in turn, the facts about the machine, and the file of results."""

import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata

import psutil

RESULTS = pathlib.Path(__file__).parents[1] / "results"
NUM_THREADS = len(os.sched_getaffinity(0))

# Every process gets the same number of threads, which TensorFlow and PyTorch read from here, and no GPU: what runs in
# turn is the CPU's work, and a library that finds a card would not compare with one that does not.
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "KERAS_BACKEND": "tensorflow",
    "OMP_NUM_THREADS": str(NUM_THREADS),
    "TF_NUM_INTRAOP_THREADS": str(NUM_THREADS),
    "TF_NUM_INTEROP_THREADS": str(NUM_THREADS),
}


def missing_package(packages: Sequence[str]) -> str | None:
    """Name the first of the packages that is not installed."""
    return next((name for name in packages if importlib.util.find_spec(name) is None), None)


def installed(variants: dict[str, Sequence[str]]) -> list[str]:
    """List the variants whose packages are installed, and print the others' names."""
    chosen = []
    for variant, packages in variants.items():
        missing = missing_package(packages)
        if missing:
            print(f"skipped: {variant} ({missing} is not installed)")
        else:
            chosen.append(variant)
    return chosen


def in_turn(script: str, variants: Sequence[str], rounds: int, options: Sequence[str], **environment):
    """Run `script --variant NAME` for every variant, again and again, each in a process of its own.

    The variants alternate, so that a machine whose speed drifts slows all of them. Each process prints its figures as
    one line of JSON, the last of its output.

    Args:
        script: the file that calls this function.
        variants: names that it knows.
        rounds: how often each runs.
        options: further ones, passed on.
        **environment: variables that differ from `ENVIRONMENT`.

    Returns:
        By variant the figures of each round, a list of dictionaries.
    """
    variables = {**os.environ, **ENVIRONMENT, **environment}
    figures = {variant: [] for variant in variants}
    for number in range(rounds):
        for variant in variants:
            command = [sys.executable, script, "--variant", variant, *options]
            run = subprocess.run(command, env=variables, capture_output=True, text=True)
            if run.returncode:
                sys.exit(f"{variant} failed:\n{run.stderr}")
            figures[variant].append(json.loads(run.stdout.splitlines()[-1]))
            print(f"round {number + 1}, {variant}: {run.stdout.splitlines()[-1]}", file=sys.stderr, flush=True)
    return figures


def time_calls(functions: dict[str, Callable[[], object]], repeats: int) -> tuple[dict[str, list[float]], float]:
    """Time functions in turn, again and again; the first call of each, which compiles, does not count.

    Returns:
        The seconds of each function's calls, and the share of the processors' time that other processes took
        meanwhile, 0 on a quiet machine.
    """
    for function in functions.values():
        function()
    seconds = {name: [] for name in functions}
    begin, busy, own = time.perf_counter(), _busy_seconds(), time.process_time()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    others = _busy_seconds() - busy - (time.process_time() - own)
    return seconds, max(0.0, others / NUM_THREADS / (time.perf_counter() - begin))


def _busy_seconds():
    """Sum up what all processes, the system and the hypervisor's other guests took of the processors since boot."""
    times = psutil.cpu_times()
    return sum(times[:2]) + sum(getattr(times, kind, 0.0) for kind in ("system", "irq", "softirq", "steal"))


def jax_step(trainer):
    """Return a trainer's step as Keras compiles it on JAX, and the state to call it with: (state, (x_0,)).

    As in Keras's own `fit`, the old state is donated: the new one takes its place in memory.
    """
    import jax

    groups = (
        trainer.trainable_variables,
        trainer.non_trainable_variables,
        trainer.optimizer.variables,
        trainer.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)
    return jax.jit(trainer.train_step, donate_argnums=0), state


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median over the rounds of ours / theirs: each round compares what ran minutes apart at most."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def ratio_to_fastest(ours: Sequence[float], theirs: Sequence[Sequence[float]]) -> float:
    """Return the median over the rounds of our speed over the highest of theirs in the same round."""
    return median_ratio(ours, [max(speeds) for speeds in zip(*theirs, strict=True)])


def machine() -> dict:
    """Describe the processor, the threads used, and the system."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": names[0].split(":", 1)[1].strip() if names else platform.processor(),
        "threads": NUM_THREADS,
        "memory_gib": round(memory, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Look up the versions of those packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def write_results(path: str | os.PathLike, results: dict) -> None:
    """Write the results as JSON, numbers rounded to five significant digits."""

    def rounded(value):
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rounded(item) for item in value]
        return float(f"{value:.5g}") if isinstance(value, float) else value

    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(results), indent=2) + "\n")
