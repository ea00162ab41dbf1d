"""`ddpm export`: write what sampling needs of a checkpoint to a small file."""

import pathlib

from ddpm_lib.cli.conventions import import_keras, make_folder, path
from ddpm_lib.config import InputError

HELP = "write what sampling needs of a checkpoint to a small file"


def add_flags(parser):
    """Add the flags of this command."""
    parser.flag("model", required=True, type=path, metavar="FILE", help="a checkpoint")
    parser.flag("out", required=True, type=path, metavar="FILE", help="where to write, ending in .npz")
    parser.flag("overwrite", action="store_true", help="write over the file that --out names")


def run(flags):
    """Write the exported file."""
    import_keras()
    from ddpm_lib import checkpoints

    checkpoints.read_config(flags.model)
    out = pathlib.Path(flags.out)
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a file in it, ending in .npz")
    if out.suffix != ".npz":
        raise InputError(f"--out {out} must end in .npz")
    if out.exists() and not flags.overwrite:
        raise InputError(f"{out} is there already: name another --out, or add --overwrite")
    make_folder(out.parent)
    checkpoints.export(flags.model, out)
    size = out.stat().st_size
    print(f"wrote {out}, {size / 1e6:.1f} MB; now try\n  ddpm generate --num_samples 16 --model {out}")
