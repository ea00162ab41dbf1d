"""The equation ledger: for every display equation of the book, where its code is, how it is checked, known mutants.

The checks of a chapter lie in the module of its name.
"""

from __future__ import annotations

import importlib

from tests.ledger.checking import Check

CHAPTERS = (
    "noising",
    "closed_form",
    "posterior",
    "reverse_step",
    "objective",
    "first_model",
    "few_steps",
    "unet",
    "training_loop",
    "half_precision",
    "training_on_faces",
    "time_and_memory",
    "devices",
    "bugs",
    "what_it_learned",
    "judging_images",
    "takeaways",
    "where_to_go_next",
)
CHECKS: dict[str, Check] = {}
for _chapter in CHAPTERS:
    CHECKS |= importlib.import_module(f"{__name__}.{_chapter}").CHECKS
