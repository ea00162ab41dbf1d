"""Right and wrong answers to the exercises of the chapter on bugs."""

RIGHT = {
    "bugs-a": "a neighbour's beta",
    "bugs-b": "noise at the last step",
    "bugs-c": "data in [0, 1]",
    "bugs-d": "bytes that wrap",
    "bugs-e": "dropout while sampling",
    "bugs-f": "one start for all batches",
    "bugs-g": "the average is never used",
    "bugs-h": "the mean is clipped",
    "bugs-i": "alpha_bar one place off",
    "bugs-j": "one t for the batch",
    "bugs-k": "shuffled after batching",
    "bugs-l": "equal noise on every device",
    "bugs-m": "the loss is not scaled",
    "bugs-n": "the residual is taken after the norm",
}

WRONG = {
    "bugs-a": {
        "just as few steps": "too few steps",
        "a fine grain on whole digits": "noise at the last step",
        "drew the healthy row": "an untrained network",
    },
    "bugs-b": {
        "background is smoother": "too few steps",
        "most of the starting noise": "a neighbour's beta",
        "in the healthy digits, too": "an average with noisy weights",
    },
    "bugs-c": {
        "loss is lower": "too short a training",
        "black itself is missing": "no clipping",
        "too bright, evenly": "bytes that wrap",
    },
    "bugs-d": {
        "touch every pixel": "noise at the last step",
        "not the ends of the range alone": "dropout while sampling",
        "strike any pixel": "a damaged file",
    },
    "bugs-e": {
        "asked for eta 0": "eta above 0",
        "from one array": "a start without a seed",
        "by far more": "rounding on another device",
    },
    "bugs-f": {
        "all twelve would be equal": "one seed for all images",
        "not every fourth one": "a network that has learned by heart",
        "equal to the last byte": "noise at the last step",
    },
    "bugs-g": {
        "draws steadily": "a learning rate far too high",
        "same steps of the same sampler": "too few sampling steps",
        "other digits each time": "other seeds at every checkpoint",
    },
    "bugs-h": {
        "does just that": "the predicted image is clipped",
        "before the first step is printed": "a start that is too narrow",
        "where the spread is lost": "the posterior's variance",
    },
    "bugs-i": {
        "it is no better": "too few steps",
        "wider, not narrower": "noise at the last step",
        "the answers are exact": "an unfinished training",
    },
    "bugs-j": {
        "far below the healthy run": "a learning rate far too high",
        "less than noise levels do": "batches of one kind of digit",
        "the same batch size": "a batch size of 1",
    },
    "bugs-k": {
        "in the same order": "never shuffled",
        "hold other digits": "only one kind of digit in the data",
        "hardly ever hold only two kinds": "a fair shuffle",
    },
    "bugs-l": {
        "grow with the number of devices": "a loss that is summed",
        "so the batch does grow": "a batch size that is divided",
        "before there was one": "clipping on every device",
    },
    "bugs-m": {
        "A rate changes steps": "a learning rate far too low",
        "the healthy twin would have the zeros": "dead activations",
        "Both twins round the weights": "weights kept in halves",
    },
    "bugs-n": {
        "still be its input": "the norm is never used",
        "large inputs would stay large": "a last projection that is not zero",
        "right at the left": "float16 overflows",
    },
}
