"""A film that the reader moves with a slider: plain HTML that needs no kernel, no script file and no network."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence

import numpy as np

from ddpm_lib.config import InputError
from ddpm_lib.images import make_grid, to_pil

# All frames lie in one picture, one below the other; moving the slider moves that picture behind a window.
_PAGE = """\
<div class="ddpm-film" style="max-width: max({width}px, 22em)">
<div style="overflow: hidden; max-width: {width}px; aspect-ratio: {columns} / {rows}">
<img src="data:image/webp;base64,{webp}" alt="{alt}" style="display: block; width: 100%; max-width: none; margin: 0; \
image-rendering: pixelated; transform: translateY({shift}%)">
</div>
<label style="display: flex; flex-wrap: wrap; gap: 0 1em; align-items: center; margin: 0.5em 0">
<span>{label}</span>
<input type="range" min="0" max="{last}" step="1" value="{start}" autocomplete="off" aria-valuetext="{caption}" \
style="flex: 1 1 12em; min-height: 2em; touch-action: manipulation" oninput="{script}">
<output aria-live="off" style="flex: 0 0 100%">{caption}</output>
</label>
</div>"""

_SCRIPT = """\
const film = this.closest('.ddpm-film'), caption = {captions}[this.value];
film.querySelector('img').style.transform = 'translateY(' + -100 * this.value / {count} + '%)';
film.querySelector('output').textContent = caption;
this.setAttribute('aria-valuetext', caption);"""


MOST_ROWS = 16_383  # of a WebP picture


class Film:
    """Frames behind a slider, for a notebook and for the book: it shows itself as HTML.

    Args:
        frames: (H, W, C) uint8 pictures of one size, C = 1 or 3.
        captions: one short text a frame.
        label: what the slider moves, such as "step".
        alt: what the film shows, for those who cannot see it.
        start: index of the frame shown first.
        scale: enlargement; on a narrow screen the film shrinks.
        quality: None keeps every pixel; 0..100 is that of WebP with losses, a quarter of the size for photographs and
            noise.

    Raises:
        InputError: if there is not one caption a frame, `start` is none of the frames, or all frames together have more
            rows of pixels than a WebP picture can.
    """

    def __init__(
        self,
        frames: Sequence[np.ndarray],
        captions: Sequence[str],
        *,
        label: str,
        alt: str,
        start: int = 0,
        scale: int = 4,
        quality: int | None = None,
    ):
        if len(frames) != len(captions):
            raise InputError(f"one caption a frame: got {len(frames)} frames and {len(captions)} captions")
        if not 0 <= start < len(frames):
            raise InputError(f"start must be in 0..{len(frames) - 1}, got {start}")
        if (rows := len(frames) * len(frames[0])) > MOST_ROWS:
            raise InputError(f"a film has at most {MOST_ROWS:,} rows of pixels in all its frames, got {rows:,}")
        self.frames, self.captions = np.stack(list(frames)), [str(caption) for caption in captions]
        self.label, self.alt, self.start, self.scale = label, alt, start, scale
        self.quality = quality

    def _repr_html_(self) -> str:
        count, rows, columns, _ = self.frames.shape
        file = io.BytesIO()
        how = {"lossless": True} if self.quality is None else {"quality": self.quality}
        to_pil(make_grid(self.frames, columns=1, pad=0)).save(file, format="WEBP", method=6, **how)
        script = _SCRIPT.format(captions=json.dumps(self.captions), count=count)
        return _PAGE.format(
            width=columns * self.scale,
            columns=columns,
            rows=rows,
            webp=base64.b64encode(file.getvalue()).decode(),
            alt=html.escape(self.alt),
            shift=-100 * self.start / count,
            label=html.escape(self.label),
            last=count - 1,
            start=self.start,
            caption=html.escape(self.captions[self.start]),
            script=html.escape(script),
        )
