"""The U-Net as a picture: HTML without scripts, made from a real network and its cost."""

from __future__ import annotations

import dataclasses
import html
import itertools
import re

from ddpm_lib.config import UNetConfig
from ddpm_lib.cost import step_cost
from ddpm_lib.unet import build_unet


@dataclasses.dataclass(frozen=True)
class Part:
    """A stretch of the network that works at one resolution.

    Args:
        name: "stem", "down 64", "middle", "up 64", "head", ..., or "time".
        layers: what it is made of, in order.
        shape: of its result, without the batch.
        parameters: trained weights.
        multiplications: of a forward pass of one image, each with an addition.
        activation_bytes: what it keeps of one image for the backward pass, in float32.
    """

    name: str
    layers: str
    shape: tuple[int, ...]
    parameters: int
    multiplications: int
    activation_bytes: int


KINDS = ("block", "attention", "pool", "skip", "upsample")
WORDS = {"block": "ResBlock", "pool": "max-pool", "skip": "concatenate", "upsample": "upsample"}


def network_parts(config: UNetConfig) -> list[Part]:
    """Build the network, and list its parts in the order of the forward pass.

    The pool or the upsampling at the end of a level belongs to the level that it leaves; `shape` is that before it.

    Args:
        config: the network.
    """
    network = build_unet(config, "float32")
    gathered: dict[str, list] = {}
    for row in step_cost(config, 1).rows:
        gathered.setdefault(_part_of(row.name), []).append(row)
    parts = []
    for name, rows in gathered.items():
        inside = [row for row in rows if _kind(row.name) not in ("pool", "upsample")]
        parts.append(
            Part(
                name=name,
                layers=_layers(rows),
                shape=tuple(network.get_layer(_last(inside, network)).output.shape[1:]),
                parameters=sum(row.parameters for row in rows),
                multiplications=sum(row.flops for row in rows) // 2,
                activation_bytes=sum(row.kept for row in rows),
            )
        )
    return parts


def _part_of(name):
    if match := re.match(r"(down|up)_(\d+)_", name):
        return f"{match[1]} {match[2]}"
    return next((part for part in ("middle", "time") if name.startswith(part)), "stem" if name in _FIRST else "head")


_FIRST = ("fold", "stem")


def _kind(name):
    return next((kind for kind in KINDS if f"_{kind}" in name), name)


def _last(rows, network):
    """Name the last of some rows that is a layer: the bare SiLU of the head is none."""
    named = {layer.name for layer in network.layers}
    return [row.name for row in rows if row.name in named][-1]


def _layers(rows):
    words, counts = [], []
    for row in rows:
        kind = _kind(row.name)
        word = WORDS.get(kind, kind if kind in KINDS else "")
        if word and words and words[-1] == word:
            counts[-1] += 1
        elif word:
            words.append(word)
            counts.append(1)
    if not words:
        names = {row.name for row in rows}
        return {
            "time": "sinusoid, two Dense, read by every ResBlock",
            "stem": "fold, Conv3x3" if "fold" in names else "Conv3x3",
            "head": "GroupNorm, SiLU, Conv3x3" + (", unfold" if "unfold" in names else ""),
        }[_part_of(rows[0].name)]
    return ", ".join(f"{count} {word}s" if count > 1 else word for word, count in zip(words, counts, strict=True))


# ---- Drawing --------------------------------------------------------------------------------------------------------

WIDTH, ROW, TOP = 360, 62, 34  # of the drawing; a phone shows it without scaling
BOX_WIDTH, BOX_HEIGHT, TIME_WIDTH = 122, 40, 64
STYLE = """
.unet { margin: 1rem 0; max-width: 680px; padding: 12px; border: 1px solid var(--line); border-radius: 10px;
  background: var(--paper); color: var(--ink); color-scheme: light; --paper: #fff; --ink: #1c2530; --soft: #5a6675;
  --line: #d5dbe2; --fill: #f3f5f8; --blue: #0067a8; --orange: #b84a00; font: 13px/1.4 system-ui, sans-serif; }
html[data-theme="dark"] .unet { color-scheme: dark; --paper: #161b22; --ink: #e6ebf1; --soft: #a3afbd; --line: #39424e;
  --fill: #212933; --blue: #62b8f5; --orange: #f5a04e; }
.unet svg { display: block; width: 100%; max-width: 500px; height: auto; margin: 0 auto; }
.unet text { font: 11px system-ui, sans-serif; fill: var(--ink); text-anchor: middle; }
.unet .soft { fill: var(--soft); }
.unet rect { fill: var(--fill); stroke: var(--soft); }
.unet .attends rect { stroke: var(--orange); stroke-width: 2; }
.unet .part { cursor: pointer; outline: none; }
.unet .part:hover rect, .unet .part:focus rect { stroke: var(--blue); stroke-width: 3; }
.unet .read { visibility: hidden; }
.unet .part:hover .read, .unet .part:focus .read { visibility: visible; }
.unet svg:has(.part:hover) .part:focus:not(:hover) .read { visibility: hidden; }
.unet svg:has(.part:hover, .part:focus) .hint { visibility: hidden; }
.unet .way { fill: none; stroke: var(--ink); stroke-width: 1.5; marker-end: url(#unet-tip); }
.unet .across { fill: none; stroke: var(--blue); stroke-width: 1.5; stroke-dasharray: 5 3; marker-end: url(#unet-tip); }
.unet marker path { fill: var(--ink); }
.unet .table { overflow-x: auto; margin-top: 10px; }
.unet table { border-collapse: collapse; width: 100%; min-width: 620px; margin: 0; color: inherit; font-size: 12.5px; }
.unet caption { text-align: left; color: var(--soft); caption-side: top; }
.unet tr, .unet th, .unet td { background: none; color: inherit; border: 0; }
.unet th, .unet td { padding: 2px 6px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
.unet th:first-child, .unet th:last-child, .unet td:last-child { text-align: left; }
.unet td:last-child { white-space: normal; min-width: 9rem; }
"""


def network_diagram(config: UNetConfig) -> str:
    """Draw a network as HTML: a U whose boxes read out their numbers under the pointer or a finger, and a table.

    Args:
        config: the network.

    Returns:
        HTML for a page or `IPython.display.HTML`. It needs no script, and follows the page's light or dark theme where
        that stands in `data-theme`.
    """
    parts = {part.name: part for part in network_parts(config)}
    sizes = [int(name.split()[1]) for name in parts if name.startswith("down")]
    left, right, middle = 65, WIDTH - 65, WIDTH // 2
    places = {"stem": (left, 0)} | {f"down {size}": (left, level + 1) for level, size in enumerate(sizes)}
    places |= {"time": (middle, 0), "middle": (middle, len(sizes) + 1)}
    places |= {f"up {size}": (right, level + 1) for level, size in enumerate(sizes)} | {"head": (right, 0)}
    bottom = TOP + ROW * (len(sizes) + 2)

    ways = []
    column = ["stem", *(f"down {size}" for size in sizes)]
    for first, second in itertools.pairwise(column):
        ways.append(_way(places[first], places[second]))
    column = [*(f"up {size}" for size in reversed(sizes)), "head"]
    for first, second in itertools.pairwise(column):
        ways.append(_way(places[first], places[second]))
    low = TOP + ROW * len(sizes) + BOX_HEIGHT
    turn = TOP + ROW * (len(sizes) + 1) + BOX_HEIGHT / 2
    ways.append(f'<path class="way" d="M{left} {low} V{turn} H{middle - BOX_WIDTH / 2 - 4}"/>')
    ways.append(f'<path class="way" d="M{middle + BOX_WIDTH / 2} {turn} H{right} V{low + 4}"/>')
    for level in range(len(sizes)):
        y = TOP + ROW * (level + 1) + BOX_HEIGHT / 2
        ways.append(f'<path class="across" d="M{left + BOX_WIDTH / 2} {y} H{right - BOX_WIDTH / 2 - 4}"/>')
        ways.append(f'<text class="soft" x="{middle}" y="{y - 5}">skip</text>')

    boxes = "".join(_box(parts[name], *place, bottom) for name, place in places.items())
    rows = "".join(_table_row(part) for part in parts.values())
    total = _table_row(
        Part(
            "all",
            "",
            parts["head"].shape,
            sum(part.parameters for part in parts.values()),
            sum(part.multiplications for part in parts.values()),
            sum(part.activation_bytes for part in parts.values()),
        )
    )
    size, channels = config.image_size, config.channels
    says = (
        f"A U of boxes. The left arm goes down from {sizes[0]} to {sizes[-1]} positions a side, the "
        f"right arm comes up again, and the middle joins them at the bottom. {len(sizes)} dashed arrows, the skips, "
        "lead across. All numbers are in the table."
    )
    return (
        f'<figure class="unet"><style>{STYLE}</style>'
        f'<svg viewBox="0 0 {WIDTH} {bottom + 46}" role="group" aria-label="{says}">'
        '<defs><marker id="unet-tip" viewBox="0 0 6 6" refX="5" refY="3" markerWidth="6" markerHeight="6" '
        'orient="auto">'
        '<path d="M0 0 6 3 0 6z"/></marker></defs>'
        f'<text x="{left}" y="14">x_t: {size} x {size} x {channels}</text>'
        f'<text x="{right}" y="14">noise: {size} x {size} x {channels}</text>'
        f'<text x="{middle}" y="14">t</text>'
        f"{''.join(ways)}{boxes}"
        f'<text class="hint soft" x="{middle}" y="{bottom + 20}">Point at a box, or tap it, to read its numbers.</text>'
        "</svg>"
        '<div class="table" tabindex="0" role="region" aria-label="The network in numbers"><table>'
        "<caption>One image, float32. Orange boxes have attention.</caption>"
        '<thead><tr><th scope="col">part</th><th scope="col">result</th><th scope="col">weights</th>'
        '<th scope="col">multiplications</th><th scope="col">activations</th><th scope="col">layers</th></tr></thead>'
        f"<tbody>{rows}{total}</tbody></table></div></figure>"
    )


def _way(first, second):
    """Arrow from one box to the one above or below it."""
    x = first[0]
    down = second[1] > first[1]
    start = TOP + ROW * first[1] + (BOX_HEIGHT if down else 0)
    end = TOP + ROW * second[1] + (-4 if down else BOX_HEIGHT + 4)
    return f'<path class="way" d="M{x} {start} V{end}"/>'


def _numbers(part):
    """The three numbers of a part, as people read them."""
    return (
        f"{part.parameters:,}",
        f"{part.multiplications / 1e6:,.1f} M",
        f"{part.activation_bytes / 2**20:.2f} MiB",
    )


def _shape(part):
    return " x ".join(map(str, part.shape))


def _box(part, x, row, bottom):
    weights, products, memory = _numbers(part)
    y = TOP + ROW * row
    says = f"{part.name}: {part.layers}. {_shape(part)}. {weights} weights, {products} multiplications, {memory}"
    width = TIME_WIDTH if part.name == "time" else BOX_WIDTH
    attends = " attends" if "attention" in part.layers else ""
    return (
        f'<g class="part{attends}" tabindex="0" role="img" aria-label="{html.escape(says)}">'
        f'<rect x="{x - width / 2}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text x="{x}" y="{y + 16}">{part.name}</text><text class="soft" x="{x}" y="{y + 31}">{_shape(part)}</text>'
        f'<g class="read"><text x="{WIDTH / 2}" y="{bottom + 10}">{part.name}: {part.layers}</text>'
        f'<text x="{WIDTH / 2}" y="{bottom + 25}">{_shape(part)}, {weights} weights</text>'
        f'<text x="{WIDTH / 2}" y="{bottom + 40}">{products} multiplications, {memory} of activations</text></g></g>'
    )


def _table_row(part):
    weights, products, memory = _numbers(part)
    cells = "".join(f"<td>{cell}</td>" for cell in (_shape(part), weights, products, memory, part.layers))
    return f'<tr><th scope="row">{part.name}</th>{cells}</tr>'
