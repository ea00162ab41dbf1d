"""The WebAssembly kernel of the denoiser in the page: its source, and what writes its bytes into the script.

    python book/_tools/kernel.py        writes ddpm_lib/explorer/kernel.js

The kernel is one function, `multiply`. Every convolution, dense layer and product of attention is one call of it:

    for each panel of 8 output channels, each row of pixels, and each 4 pixels of the row:
        bias + the sum over `pieces` runs of `length` inputs each, times the weights

A convolution with 3x3 taps has 3 pieces, the rows of its window: the three pixels of one row lie one after the other in
memory, so each piece is 3 C inputs long. A 1x1 convolution or a dense layer has one piece.

Of the function's integers `length`, `pieces`, `pixels`, `rows` and `panels` are counts; `length` is even, and `pixels`
is a multiple of 4. The others are addresses in bytes and distances between addresses in bytes.

There is no compiler behind this: each function below returns the bytes of one instruction of the WebAssembly core
specification (chapter 5, binary format), with the instructions that bring its operands before it.
"""

from __future__ import annotations

import base64
import pathlib
import textwrap

KERNEL = pathlib.Path(__file__).parents[2] / "ddpm_lib" / "explorer" / "kernel.js"

INTEGERS = (  # the arguments, in their order
    *("input", "pixel", "length", "pieces", "piece", "pixels", "rows", "row"),
    *("weights", "bias", "output", "output_pixel", "panels"),
)
COUNTERS = (  # integers beside the arguments
    *("row_at", "output_at", "rows_left", "pixels_at", "pixels_left", "window", "pieces_left", "inputs_left"),
    *("weight", "read_0", "read_1", "read_2", "read_3"),
)
PIXELS, HALVES = range(4), range(2)  # a tile: 4 pixels, of each 8 channels in two vectors of 4
SUMS = [f"sum_{pixel}{half}" for pixel in PIXELS for half in HALVES]
VECTORS = (*SUMS, "low", "high", "value")
LOCAL = {name: number for number, name in enumerate((*INTEGERS, *COUNTERS, *VECTORS))}

I32, V128, FUNCTION, NOTHING = 0x7F, 0x7B, 0x60, 0x40


def unsigned(number: int) -> bytes:
    """Encode a number of 0 or more in LEB128: seven bits a byte, the last byte below 128."""
    if number < 128:
        return bytes([number])
    return bytes([number & 127 | 128]) + unsigned(number >> 7)


def named(text: str) -> bytes:
    """Encode a name."""
    return unsigned(len(text)) + text.encode()


def vector(entries: list[bytes]) -> bytes:
    """Encode a list."""
    return unsigned(len(entries)) + b"".join(entries)


def section(number: int, content: bytes) -> bytes:
    """Encode a section of a module."""
    return bytes([number]) + unsigned(len(content)) + content


# ---- Instructions: the operands first, then the code --------------------------------------------------------------


def get(name: str) -> bytes:
    """Read a local variable."""
    return b"\x20" + unsigned(LOCAL[name])


def put(name: str, value: bytes) -> bytes:
    """Write a local variable."""
    return value + b"\x21" + unsigned(LOCAL[name])


def constant(number: int) -> bytes:
    """Return a small integer, 0..63: one byte, whose seventh bit is the sign."""
    assert 0 <= number < 64
    return b"\x41" + unsigned(number)


def plus(a: bytes, b: bytes) -> bytes:
    """Add two integers."""
    return a + b + b"\x6a"


def advance(name: str, by: bytes) -> bytes:
    """Add to a local integer."""
    return put(name, plus(get(name), by))


def repeat(counter: str, step: int, *body: bytes) -> bytes:
    """Run the body, take `step` from the counter, and begin again unless nothing is left."""
    left = get(counter) + constant(step) + b"\x6b\x22" + unsigned(LOCAL[counter])  # subtract, keep the difference
    return b"\x03" + bytes([NOTHING]) + b"".join(body) + left + b"\x0d\x00\x0b"


def simd(code: int) -> bytes:
    """Return the code of a vector instruction."""
    return b"\xfd" + unsigned(code)


def load(address: str, offset: int) -> bytes:
    """Read four floats."""
    return get(address) + simd(0x00) + b"\x04" + unsigned(offset)


def load_four_times(address: str, offset: int) -> bytes:
    """Read one float into all four places."""
    return get(address) + simd(0x09) + b"\x02" + unsigned(offset)


def store(address: str, offset: int, value: bytes) -> bytes:
    """Write four floats."""
    return get(address) + value + simd(0x0B) + b"\x04" + unsigned(offset)


def add_product(name: str, a: bytes, b: bytes) -> bytes:
    """Add a product of two vectors to a local vector."""
    product = a + b + simd(0xE6)
    return put(name, get(name) + product + simd(0xE4))


# ---- The function -------------------------------------------------------------------------------------------------


def take_one_input(number: int) -> bytes:
    """Multiply one input of each of the four pixels with its eight weights."""
    code = put("low", load("weight", 32 * number)) + put("high", load("weight", 32 * number + 16))
    for pixel in PIXELS:
        code += put("value", load_four_times(f"read_{pixel}", 4 * number))
        code += add_product(f"sum_{pixel}0", get("value"), get("low"))
        code += add_product(f"sum_{pixel}1", get("value"), get("high"))
    return code


def body() -> bytes:
    """Return the instructions of `multiply`."""
    two_inputs = [
        take_one_input(0),
        take_one_input(1),
        *(advance(f"read_{pixel}", constant(8)) for pixel in PIXELS),
        advance("weight", constant(32)),
        advance("weight", constant(32)),
    ]
    one_piece = [
        put("read_0", get("window")),
        *(put(f"read_{pixel}", plus(get(f"read_{pixel - 1}"), get("pixel"))) for pixel in PIXELS[1:]),
        put("inputs_left", get("length")),
        repeat("inputs_left", 2, *two_inputs),
        advance("window", get("piece")),
    ]
    tile = [
        *(put(f"sum_{pixel}{half}", load("bias", 16 * half)) for pixel in PIXELS for half in HALVES),
        put("weight", get("weights")),
        put("window", get("pixels_at")),
        put("pieces_left", get("pieces")),
        repeat("pieces_left", 1, *one_piece),
        *(
            store("output_at", 0, get(f"sum_{pixel}0"))
            + store("output_at", 16, get(f"sum_{pixel}1"))
            + advance("output_at", get("output_pixel"))
            for pixel in PIXELS
        ),
        *(advance("pixels_at", get("pixel")) for _ in PIXELS),
    ]
    one_row = [
        put("pixels_at", get("row_at")),
        put("pixels_left", get("pixels")),
        repeat("pixels_left", 4, *tile),
        advance("row_at", get("row")),
    ]
    panel = [
        put("row_at", get("input")),
        put("output_at", get("output")),
        put("rows_left", get("rows")),
        repeat("rows_left", 1, *one_row),
        put("weights", get("weight")),  # the last tile ended where the next panel's weights begin
        advance("bias", constant(32)),
        advance("output", constant(32)),
    ]
    return repeat("panels", 1, *panel)


def module() -> bytes:
    """Return the bytes of the module: it takes a memory from "page", and gives `multiply`."""
    signature = bytes([FUNCTION]) + vector([bytes([I32])] * len(INTEGERS)) + vector([])
    memory = named("page") + named("memory") + b"\x02\x00" + unsigned(1)  # of at least one page of 64 KiB
    variables = vector([unsigned(len(COUNTERS)) + bytes([I32]), unsigned(len(VECTORS)) + bytes([V128])])
    function = variables + body() + b"\x0b"
    return (
        b"\0asm\x01\0\0\0"
        + section(1, vector([signature]))
        + section(2, vector([memory]))
        + section(3, vector([unsigned(0)]))
        + section(7, vector([named("multiply") + b"\x00" + unsigned(0)]))
        + section(10, vector([unsigned(len(function)) + function]))
    )


def script() -> str:
    """Return the text of `kernel.js`."""
    lines = textwrap.wrap(base64.b64encode(module()).decode(), 112)
    text = "// The denoiser's kernel, WebAssembly in base64. Written by book/_tools/kernel.py, which is its source.\n\n"
    return text + "const KERNEL = `\n" + "\n".join(lines) + "`;\n"


if __name__ == "__main__":
    KERNEL.write_text(script(), "utf8")
    print(f"wrote {KERNEL.name}: {len(module())} bytes of WebAssembly")
