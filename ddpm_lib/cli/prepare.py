"""`ddpm prepare`: read a folder or archive of images once, into one array."""

from ddpm_lib.cli.conventions import add_data_flags, import_keras, number_type
from ddpm_lib.config import MAX_IMAGE_SIZE, InputError

HELP = "read a folder or archive of images once, into one array"


def add_flags(parser):
    """Add the flags of this command."""
    add_data_flags(parser)
    size = number_type(int, 1, most=MAX_IMAGE_SIZE)
    parser.flag("image_size", type=size, default=64, help="height and width in pixels (default: 64)")


def run(flags):
    """Prepare the images and say where they are."""
    import_keras()
    from ddpm_lib import data

    if flags.data_dir is None:
        raise InputError(data.WHERE_CELEBA_IS)
    path = data.prepare(
        flags.data_dir, flags.image_size, cache_dir=flags.cache_dir, max_bad_fraction=flags.max_bad_fraction
    )
    print(f"prepared images: {path}")
