"""Right and wrong answers to every exercise, those of a chapter in the module of its name."""

import importlib

from ddpm_lib.exercises import CHAPTERS

RIGHT, WRONG = {}, {}
for _chapter in CHAPTERS:
    _answers = importlib.import_module(f"{__name__}.{_chapter}")
    RIGHT |= _answers.RIGHT
    WRONG |= _answers.WRONG
