"""`ddpm export`: write what sampling needs of a checkpoint to a small file."""

import pathlib

from ddpm_lib.cli.conventions import import_keras, make_folder, path
from ddpm_lib.config import InputError

HELP = "write what sampling needs of a checkpoint to a small file"


def add_flags(parser):
    """Add the flags of this command."""
    parser.flag("model", required=True, type=path, metavar="FILE", help="a checkpoint")
    parser.flag("out", required=True, type=path, metavar="FILE", help="where to write, ending in .npz")


def run(flags):
    """Write the exported file."""
    import_keras()
    from ddpm_lib import checkpoints

    checkpoints.read_config(flags.model)
    if pathlib.Path(flags.out).is_dir():
        raise InputError(f"--out {flags.out} is a folder: name a file in it, ending in .npz")
    make_folder(pathlib.Path(flags.out).parent)
    checkpoints.export(flags.model, flags.out)
    size = pathlib.Path(flags.out).stat().st_size
    print(f"wrote {flags.out}, {size / 1e6:.1f} MB; now try\n  python generate.py --num_samples 16 --model {flags.out}")
