"""The network as a picture: its numbers are the network's, and it can be read without a pointer."""

import xml.etree.ElementTree

import pytest

from ddpm_lib.config import PRESETS
from ddpm_lib.cost import step_cost
from ddpm_lib.diagram import network_diagram, network_parts

EVERY_PRESET = pytest.mark.parametrize("preset", ["celeba64", "faces64", "digits16"])


def tree(preset):
    return xml.etree.ElementTree.fromstring(network_diagram(PRESETS[preset].unet))


@EVERY_PRESET
def test_parts_add_up_to_the_network(preset):
    unet = PRESETS[preset].unet
    parts, cost = network_parts(unet), step_cost(unet, 1)
    assert sum(part.parameters for part in parts) == cost.parameters
    assert 2 * sum(part.multiplications for part in parts) == cost.flops
    assert sum(part.activation_bytes for part in parts) == cost.activation_bytes


def test_parts_of_the_course_network_are_those_of_its_design():
    """Shapes from the design; weights of the stem and the head counted by hand."""
    parts = {part.name: part for part in network_parts(PRESETS["celeba64"].unet)}
    down = {f"down {side}": (side, side, width) for side, width in [(64, 32), (32, 64), (16, 128), (8, 256)]}
    up = {f"up {side}": (side, side, width) for side, width in [(8, 128), (16, 64), (32, 32), (64, 32)]}
    shapes = {"time": (1024,), "stem": (64, 64, 32), "middle": (8, 8, 256), "head": (64, 64, 3)} | down | up
    assert {name: part.shape for name, part in parts.items()} == shapes
    assert parts["stem"].parameters == 27 * 32 + 32
    assert parts["head"].parameters == 2 * 32 + 9 * 32 * 3 + 3
    assert parts["down 32"].layers == "2 ResBlocks, attention, max-pool"
    assert [name for name, part in parts.items() if "attention" in part.layers] == ["down 32", "middle", "up 32"]


@EVERY_PRESET
def test_each_part_is_a_box_that_reads_out_and_a_row(preset):
    figure, parts = tree(preset), network_parts(PRESETS[preset].unet)
    boxes = [element for element in figure.iter("g") if "part" in element.get("class", "").split()]
    assert len(boxes) == len(parts) and all(box.get("tabindex") == "0" for box in boxes)
    assert all(box.find("g[@class='read']") is not None for box in boxes)
    rows = {
        row.find("th").text: [cell.text for cell in row.iter("td")]
        for row in figure.iter("tr")
        if row.find("td") is not None
    }
    labels = " ".join(box.get("aria-label") for box in boxes)
    for part in parts:
        assert rows[part.name][1] == f"{part.parameters:,}" and f"{part.name}: {part.layers}." in labels
    assert rows["all"][1] == f"{step_cost(PRESETS[preset].unet, 1).parameters:,}"
