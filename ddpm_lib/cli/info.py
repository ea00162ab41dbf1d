"""`ddpm info`: describe this machine, and a checkpoint."""

from ddpm_lib.cli.conventions import MODEL, import_keras, path
from ddpm_lib.config import PRESETS

HELP = "describe this machine, and a checkpoint"


def add_flags(parser):
    """Add the flags of this command."""
    parser.flag("model", type=path, metavar="MODEL", help=MODEL)


def run(flags):
    """Print the machine, the model and what fits."""
    import_keras()
    from ddpm_lib import checkpoints, cost, hardware

    config = PRESETS["celeba64"]
    print(hardware.device_report())
    print("precision {}: {}".format(*hardware.choose_precision()))
    if flags.model:
        model = checkpoints.load(flags.model)
        print(f"{flags.model}: step {model.step}, {model.network.count_params():,} weights")
        if model.rows:
            print(f"after {model.rows[-1]['epoch']} epochs: loss {model.rows[-1]['loss']:.4f}")
        print(model.config.to_json(), end="")
        config = model.config
    print(f"\n{config.preset}, {cost.what_fits(config.unet, config.train.batch_size)}")
