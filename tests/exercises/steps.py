"""What a step of a schedule is made of, for the answers of several chapters."""

import numpy as np


def tables(schedule, step):
    """beta_t, alpha_t, alpha_bar_t and alpha_bar_{t-1}, from the betas alone."""
    betas = schedule.betas[:step]
    return betas[-1], 1 - betas[-1], np.prod(1 - betas), np.prod(1 - betas[:-1])
