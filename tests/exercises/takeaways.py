"""Right and wrong answers to the exercises of the chapter on the article's takeaways."""

import numpy as np
from scipy import stats


def rule(ours, theirs, limit=2.0, signs=True, scale=1.0):
    """By the t statistic of the gaps."""
    gaps = [a - b for a, b in zip(ours, theirs, strict=True)]
    t = stats.ttest_1samp(gaps, 0).statistic * scale
    one_sign = all(gap > 0 for gap in gaps) or all(gap < 0 for gap in gaps)
    return float(np.sign(t)) * (abs(t) > limit and (one_sign or not signs))


def root_of_n(ours):
    return len(ours) ** 0.5


def epoch(fixed, each, batch, images=960):
    return images / batch * (fixed + each * batch)


def ratio(fixed, each, small, large):
    return epoch(fixed, each, small) / epoch(fixed, each, large)


RIGHT = {
    "takeaways-rule": rule,
    "takeaways-chance": lambda n: stats.binom.pmf(0, n, 0.5) + stats.binom.pmf(n, n, 0.5),
    "takeaways-batch": ratio,
}

WRONG = {
    "takeaways-rule": {
        "turned round": lambda ours, theirs: -rule(ours, theirs),
        "ddof=1": lambda ours, theirs: rule(ours, theirs, scale=(len(ours) / (len(ours) - 1)) ** 0.5),
        "over the root": lambda ours, theirs: rule(ours, theirs, scale=1 / root_of_n(ours)),
        "must have the same sign": lambda ours, theirs: rule(ours, theirs, signs=False),
        "One sign is not enough": lambda ours, theirs: rule(ours, theirs, limit=0.0),
        "never that one cannot tell": lambda ours, theirs: rule(ours, theirs, limit=0.0, signs=False),
    },
    "takeaways-chance": {
        "all minus is the other": lambda n: stats.binom.pmf(n, n, 0.5),
        "do not agree": lambda n: stats.binom.cdf(n - 1, n, 0.5) - stats.binom.pmf(0, n, 0.5),
        "Each seed halves the chance": lambda n: n**-1.0,
        "take a share of it": lambda n: 2 * n**-1.0,
    },
    "takeaways-batch": {
        "single steps": lambda fixed, each, small, large: (
            epoch(fixed, each, small, small) / epoch(fixed, each, large, large)
        ),
        "not large over small": lambda *case: ratio(*case) ** -1,
        "took no time": lambda fixed, each, small, large: ratio(fixed, 0.0, small, large),
        "number of steps is not": lambda fixed, each, small, large: ratio(0.0, each, small, large),
    },
}
