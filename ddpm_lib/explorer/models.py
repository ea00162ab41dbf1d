"""The files of models for the page, as scripts: a page from file:// may load nothing else."""

import base64
import json
import os
import pathlib


def model_script(name: str, path: str | os.PathLike) -> str:
    """Return the text of a script that hands an exported model to the denoiser in the page.

    Args:
        name: of the model; the script lies as `models/NAME.js` beside the explorers' own.
        path: an `.npz` file of `ddpm export`. It goes into the script as it is, in base64.
    """
    text = base64.b64encode(pathlib.Path(path).read_bytes()).decode()
    return f'(globalThis.ddpmModels ??= {{}})[{json.dumps(name)}] = "{text}";\n'
