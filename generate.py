"""Draw images with a trained network: `python generate.py --help`. The same as `ddpm generate`."""

import sys

from ddpm_lib.cli import main

sys.exit(main(["generate", *sys.argv[1:]]))
