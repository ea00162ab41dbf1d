"""The front end of all explorers: one script, joined from the modules beside this file.

A page loads it as a classic script, which also works from file://. A notebook gets the same text as a module, see
`widgets.py`. Everything is computed in it.
"""

import pathlib

# In this order, since a class must stand before those that extend it. A new explorer is a module here, and a line in
# `register.js`.
PARTS = (
    "numbers",
    "style",
    "element",
    "schedule_explorer",
    "mixture",
    "reverse_explorer",
    "samplers_explorer",
    "cost_explorer",
    "kernel",
    "worker",
    "noise",
    "model_file",
    "unet",
    "walk",
    "paper",
    "denoiser",
    "perceptron",
    "lesson",
    "points_pad",
    "training_explorer",
    "register",
)
EXPORTS = (
    "schedule, priorKL, gaussians, expectedX0, reverseStep, visitedSteps, spacedSteps, distances, "
    "numpyNormals, readNpz, readConfig, ModelWorker, makePerceptron, adamStep, networkInput, drawBatch, "
    "posteriorOfPoint, slicedDistance, makeLesson, GRID_PLACES, "
    "predictCost, largestBatch, widget"
)
FOLDER = pathlib.Path(__file__).parent

# A function around all of them keeps their names out of the page.
SCRIPT = "\n".join(
    [
        'globalThis.ddpmExplorers ??= (() => {\n"use strict";\n',
        *((FOLDER / f"{part}.js").read_text("utf-8") for part in PARTS),
        f"return {{ {EXPORTS} }};\n}})();\n",
    ]
)
