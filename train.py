"""Train a network: `python train.py --help`. The same as `ddpm train`."""

import sys

from ddpm_lib.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
