"""The cost model's table of layers, short enough to stand in a page, where the sums over it are done again."""

from __future__ import annotations

import dataclasses

from ddpm_lib.config import UNetConfig
from ddpm_lib.cost import ATTENTIONS, DEVICES, NUM_CELEBA_IMAGES, USABLE_MEMORY, Row, step_cost

PRECISIONS = ("float32", "mixed_float16")


def device_numbers(name: str) -> dict[str, float]:
    """Return what the panel shows of one of `cost.DEVICES`: TFLOP/s in float32 and in halves, GB/s, GB."""
    device = DEVICES[name]
    scales = {"float32": 1e12, "half": 1e12, "bandwidth": 1e9, "memory": 1e9}
    return {key: getattr(device, key) / scale for key, scale in scales.items()}


def cost_table(config: UNetConfig) -> dict:
    """Tabulate what each layer takes in training as numbers for one image and numbers beside the images.

    FLOPs and bytes kept are proportional to the batch. Bytes moved and scratch space have a part that does not grow
    with it: the weights of a layer, and the scores that attention holds one head at a time.

    Returns:
        A dictionary for JSON. `rows` has for each precision a row for each layer: its name, and its variants by name,
        each a list [FLOPs an image, bytes moved beside the images, bytes moved an image, bytes kept an image, scratch
        space beside the images, scratch space an image]. A variant is named after the kind of attention, or `again`
        for a layer that is rematerialized, and "" for all others.
    """
    rows = {precision: _rows(config, precision) for precision in PRECISIONS}
    return {
        "parameters": step_cost(config, 1).parameters,
        "images": NUM_CELEBA_IMAGES,
        "usable": USABLE_MEMORY,
        "cards": {name: list(device_numbers(name).values()) for name in DEVICES},
        "rows": rows,
    }


def layer_costs(
    costs: dict, batch_size: int, precision: str, attention: str, rematerialize: str
) -> list[tuple[str, float, float]]:
    """Return (name, FLOPs, bytes moved) of each layer in one training step, from a `cost_table`."""
    found = []
    for name, variants in costs["rows"][precision]:
        again = variants.get("again") if rematerialize == "yes" else None
        flops, moved_anyway, moved, *_ = variants.get(attention) or again or variants[""]
        found.append((name, flops * batch_size, moved_anyway + moved * batch_size))
    return found


def _rows(config, precision):
    def both(**options):
        return zip(*(step_cost(config, size, precision, **options).rows for size in (1, 2)), strict=True)

    variants = {kind: list(both(attention=kind)) for kind in ATTENTIONS}
    variants["again"] = list(both(rematerialize=True))
    usual = variants["singly"]
    table = []
    for place, pair in enumerate(usual):
        found = {kind: _numbers(*rows[place]) for kind, rows in variants.items()}
        if found["plain"] != found["singly"]:
            del found["again"]
        elif found["again"] != found["singly"]:
            found = {"": found["singly"], "again": found["again"]}
        else:
            found = {"": found["singly"]}
        table.append([pair[0].name, found])
    return table


def _numbers(one: Row, two: Row) -> list[int]:
    """Split a row at batch 1 and at batch 2 into what is there anyway and what each image adds."""

    def split(kind):
        first, second = getattr(one, kind), getattr(two, kind)
        return 2 * first - second, second - first

    assert dataclasses.astuple(one)[-2:] == dataclasses.astuple(two)[-2:]
    return [one.training_flops, *split("training_moved"), one.kept, *split("workspace")]
