"""Judging pictures: how far they are from photographs, beside how far photographs are from photographs.

Every number for the pictures has a twin: the same number for as many photographs in their place. Without it no number
here means anything, for it depends on the features, on how many pictures there are, and on how they were cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from ddpm_lib.config import InputError
from ddpm_lib.evaluation.distances import frechet_distance, precision_recall
from ddpm_lib.evaluation.looking import nearest_images

LEAST = 10  # pictures; with fewer even the floor says nothing
COPY = 1 / 3  # nearest over second nearest distance below which a picture counts as a copy, Yoon et al. (2023)
FACE_SHARE = 0.5  # of photographs in which the detector must find a face before it may judge others


def judge(
    samples: np.ndarray,
    photographs: np.ndarray,
    network,
    *,
    held_out: np.ndarray | None = None,
    num_splits: int = 10,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Compare N generated pictures with photographs, and N photographs with other photographs in the same way.

    A split draws two sets of N photographs that share none. Samples, and the first set in their place, are compared
    with the second. Means and standard deviations are over the splits. These draw from the same photographs again and
    again, so the standard deviation is somewhat too small for what other photographs would give.

    Args:
        samples: (N, H, W, C) uint8, N >= 10.
        photographs: (M, H, W, C) uint8, M >= 2 N.
        network: see `ddpm_lib.evaluation.features`; where it has `is_face`, faces are counted too.
        held_out: (K, H, W, C) uint8, photographs of the same kind that the model was not trained on, if there are any.
        num_splits: how many splits.
        seed: of the splits.
        progress: whether to show progress bars.

    Returns:
        A dictionary of plain numbers. It has the settings; "samples" and "photographs", each with "frechet_distance",
        "precision" and "recall" as {"mean", "std"}, "faces" (a share), and "nearest", the distances to the nearest of
        the (other) photographs as `nearest_images` measures them; with `held_out` also "held_out". The Fréchet distance
        is in units of the "total_variance" of the photographs' features: 1 is the distance of photographs to one
        picture, again and again, at the mean of their features.

    Raises:
        InputError: if there are too few pictures, they have different shapes, or all photographs are the same.
    """
    check_counts(len(samples), len(photographs), None if held_out is None else len(held_out))
    for others in (photographs, held_out):
        if others is not None and others.shape[1:] != samples.shape[1:]:
            raise InputError(f"samples of shape {samples.shape[1:]} cannot be compared with {others.shape[1:]}")
    count, generator = len(samples), np.random.default_rng(seed)
    # Enough for splits that differ; reading and describing all of a large dataset would take longer than all the rest.
    pool = generator.permutation(len(photographs))[: 4 * count]
    drawn = photographs[pool]
    sample_features = network.features(samples, progress).astype(np.float64)
    features = network.features(drawn, progress).astype(np.float64)
    total_variance = float(features.var(axis=0, ddof=1).sum())
    if total_variance == 0:
        raise InputError(f"the photographs cannot be told apart by the features {network.name!r}")

    rows = {"samples": [], "photographs": []}
    for _ in tqdm(range(num_splits), desc="splits", unit="split", disable=not progress):
        first, second = np.split(features[generator.permutation(len(pool))[: 2 * count]], 2)
        for name, judged in [("samples", sample_features), ("photographs", first)]:
            distance = frechet_distance(judged, second) / total_variance
            rows[name].append((distance, *precision_recall(second, judged)))

    result = {
        "num_samples": count,
        "num_photographs": len(photographs),
        "image_size": samples.shape[1],
        "features": network.name,
        "num_features": features.shape[1],
        "total_variance": total_variance,
        "num_splits": num_splits,
    }
    names = ("frechet_distance", "precision", "recall")
    for name, values in rows.items():
        spread = zip(names, np.mean(values, axis=0), np.std(values, axis=0, ddof=1), strict=True)
        result[name] = {key: {"mean": float(mean), "std": float(std)} for key, mean, std in spread}
    if hasattr(network, "is_face"):
        result["samples"]["faces"] = float(network.is_face(samples, progress).mean())
        result["photographs"]["faces"] = float(network.is_face(drawn[:count], progress).mean())
    result["samples"]["nearest"] = _nearest(samples, photographs, None, progress)
    result["photographs"]["nearest"] = _nearest(drawn[:count], photographs, pool[:count], progress)
    if held_out is not None:
        result["held_out"] = _compare_held_out(samples, photographs, held_out, generator, progress)
    return result


def check_counts(num_samples: int, num_photographs: int, num_held_out: int | None = None) -> None:
    """Raise InputError, saying how many there are and may be, if so many samples and photographs cannot be compared."""
    if num_held_out is not None and num_held_out < LEAST:
        raise InputError(f"{num_held_out} held-out photographs are too few: at least {LEAST} are needed")
    if num_photographs < 2 * LEAST:
        raise InputError(f"{num_photographs} photographs are too few to say anything: at least {2 * LEAST} are needed")
    if num_samples < LEAST:
        raise InputError(f"{num_samples} samples are too few to say anything: at least {LEAST} are needed")
    if num_photographs < 2 * num_samples:
        raise InputError(
            f"{num_photographs:,} photographs are too few for {num_samples:,} samples: two sets of as many are "
            f"compared with one another, so {2 * num_samples:,} are needed, or --num_samples {num_photographs // 2}"
        )


def check_faces(photographs: np.ndarray, network) -> None:
    """Raise InputError if a network that judges faces finds none in most of some photographs.

    Args:
        photographs: (M, H, W, 3) uint8; up to 64 of them are looked at.
        network: see `ddpm_lib.evaluation.features`.
    """
    if not hasattr(network, "is_face"):
        return
    some = photographs[np.linspace(0, len(photographs) - 1, 64).astype(int)]
    share = network.is_face(some).mean()
    if share < FACE_SHARE:
        raise InputError(
            f"only {share:.0%} of these pictures hold a face that the detector finds, so the features "
            f"{network.name!r} cannot judge them; --features inception can"
        )


def _nearest(images, photographs, own, progress):
    distances, _ = nearest_images(images, photographs, own=own, progress=progress)
    nearest, second = distances.T
    # An exact copy that occurs twice has 0 / 0.
    ratio = np.divide(nearest, second, out=np.zeros_like(nearest), where=second > 0)
    quantiles = {"least": 0, "5 %": 5, "median": 50}
    return {
        **{name: float(np.percentile(nearest, percent)) for name, percent in quantiles.items()},
        "copies": int((ratio < COPY).sum()),
    }


def _compare_held_out(samples, photographs, held_out, generator, progress):
    """Whether samples are nearer to photographs of the training than to as many that were kept out of it."""
    count = min(len(photographs), len(held_out))
    seen, unseen = (pictures[generator.permutation(len(pictures))[:count]] for pictures in (photographs, held_out))
    distances = [nearest_images(samples, pictures, count=1, progress=progress)[0][:, 0] for pictures in (seen, unseen)]
    return {
        "num_photographs": count,
        "median_to_training": float(np.median(distances[0])),
        "median_to_held_out": float(np.median(distances[1])),
        "nearer_to_training": float((distances[0] < distances[1]).mean()),
        "expected": {"mean": 0.5, "std": 0.5 / len(samples) ** 0.5},
    }


def table(result: dict[str, Any]) -> str:
    """Lay out what `judge` returned as lines of text: samples on the left, photographs in their place on the right."""
    columns = [result["samples"], result["photographs"]]
    rows = [("", "samples", "photographs")]
    for label, name, digits in [
        ("Fréchet distance", "frechet_distance", 4),
        ("precision", "precision", 3),
        ("recall", "recall", 3),
    ]:
        values = [column[name] for column in columns]
        rows.append((label, *(f"{value['mean']:.{digits}f} ± {value['std']:.{digits}f}" for value in values)))
    if "faces" in result["samples"]:
        rows.append(("a face is found", *(f"{column['faces']:.1%}" for column in columns)))
    for name in ("median", "least"):
        rows.append((f"nearest photograph: {name}", *(f"{column['nearest'][name]:.3f}" for column in columns)))
    rows.append(("copies", *(str(column["nearest"]["copies"]) for column in columns)))
    lines = [f"{label:28}{left:>16}{right:>16}".rstrip() for label, left, right in rows]
    if "held_out" in result:
        facts = result["held_out"]
        lines.append(
            f"nearer to a training photograph than to a held-out one, of {facts['num_photographs']:,} each: "
            f"{facts['nearer_to_training']:.1%} of the samples; without memorising {facts['expected']['mean']:.0%} ± "
            f"{facts['expected']['std']:.0%}"
        )
    return "\n".join(lines)
