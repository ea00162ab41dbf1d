"""The exercises of the chapter on bugs: for each case the names to choose from, and why the wrong ones do not fit."""

from __future__ import annotations

from ddpm_lib.exercises.checking import Choice

EXERCISES: dict[str, Choice] = {
    "bugs-a": Choice(
        "a neighbour's beta",
        {
            "too few steps": "The healthy row takes just as few steps, and is clean",
            "noise at the last step": "One step's noise is a fine grain on whole digits. Here no digit is left",
            "an untrained network": "The same network drew the healthy row",
        },
    ),
    "bugs-b": Choice(
        "noise at the last step",
        {
            "too few steps": "The healthy digits took just as few steps, and their background is smoother",
            "a neighbour's beta": "Then most of the starting noise would stay. This is a fine grain",
            "an average with noisy weights": "A network's errors would show in the healthy digits, too",
        },
    ),
    "bugs-c": Choice(
        "data in [0, 1]",
        {
            "too short a training": "The loss is lower than that of the healthy run, and digits can be read",
            "no clipping": "Without clipping some numbers would lie outside of [-1, 1]. Here black itself is missing",
            "bytes that wrap": "Wrapping turns black white and white black. This whole picture is too bright, evenly",
        },
    ),
    "bugs-d": Choice(
        "bytes that wrap",
        {
            "noise at the last step": "Noise would touch every pixel. All that differ are at the ends of the range",
            "dropout while sampling": "Dropout changes features of the network, not the ends of the range alone",
            "a damaged file": "Damage would strike any pixel. All pixels that differ are at the ends of the range",
        },
    ),
    "bugs-e": Choice(
        "dropout while sampling",
        {
            "eta above 0": "The sampler was asked for eta 0, and the healthy copy repeats itself with the same sampler",
            "a start without a seed": "Both rows start from one array, and the healthy copy repeats itself from it",
            "rounding on another device": "Rounding changes the last digits of a number, and these change by far more",
        },
    ),
    "bugs-f": Choice(
        "one start for all batches",
        {
            "one seed for all images": "Then all twelve would be equal. Here four of them differ",
            "a network that has learned by heart": "Then images would come back in any order, not every fourth one",
            "noise at the last step": "Noise makes images differ. These are equal to the last byte",
        },
    ),
    "bugs-g": Choice(
        "the average is never used",
        {
            "a learning rate far too high": "The loss is calm, and the average of these very weights draws steadily",
            "too few sampling steps": "Both lines take the same steps of the same sampler",
            "other seeds at every checkpoint": "With other seeds the calm line would show other digits each time, too",
        },
    ),
    "bugs-h": Choice(
        "the mean is clipped",
        {
            "the predicted image is clipped": "The healthy walk does just that, and keeps its spread",
            "a start that is too narrow": "The spread before the first step is printed, and it is right",
            "the posterior's variance": "It is hardly smaller than beta at the first steps, where the spread is lost",
        },
    ),
    "bugs-i": Choice(
        "alpha_bar one place off",
        {
            "too few steps": "With 1000 steps it is no better",
            "noise at the last step": "Noise at the end would make the bells wider, not narrower",
            "an unfinished training": "Nothing was trained here: the answers are exact",
        },
    ),
    "bugs-j": Choice(
        "one t for the batch",
        {
            "a learning rate far too high": "Then the loss would rise, and never fall far below the healthy run's",
            "batches of one kind of digit": "Digits differ less than noise levels do: compare case K",
            "a batch size of 1": "Both trainings have the same batch size",
        },
    ),
    "bugs-k": Choice(
        "shuffled after batching",
        {
            "never shuffled": "Then the second epoch would bring the same batches in the same order",
            "only one kind of digit in the data": "Other batches hold other digits",
            "a fair shuffle": "Ten fair draws hardly ever hold only two kinds, and here every batch does",
        },
    ),
    "bugs-l": Choice(
        "equal noise on every device",
        {
            "a loss that is summed": "Then the spread would grow with the number of devices",
            "a batch size that is divided": "Each device has 16 images of its own, so the batch does grow",
            "clipping on every device": "Clipping changes a gradient. The loss was counted before there was one",
        },
    ),
    "bugs-m": Choice(
        "the loss is not scaled",
        {
            "a learning rate far too low": "A rate changes steps, not gradients. These numbers are gradients",
            "dead activations": "Then the healthy twin would have the zeros, too. It is the same network",
            "weights kept in halves": "Both twins round the weights, and one of them finds the gradient",
        },
    ),
    "bugs-n": Choice(
        "the residual is taken after the norm",
        {
            "the norm is never used": "At the start the layer adds 0, so its output would still be its input",
            "a last projection that is not zero": "It would add to the input, and large inputs would stay large",
            "float16 overflows": "Then the output would be infinite at the right end, and right at the left",
        },
    ),
}
