"""The exercises: the right answer, known wrong ones and their messages, bad input, and the chapters' own solutions."""

import re

import jupytext
import numpy as np
import pytest

from ddpm_lib.exercises import EXERCISES, check
from tests.equation_reader import BOOK


def tables(schedule, step):
    """beta_t, alpha_t, alpha_bar_t and alpha_bar_{t-1}, from the betas alone."""
    betas = schedule.betas[:step]
    return betas[-1], 1 - betas[-1], np.prod(1 - betas), np.prod(1 - betas[:-1])


def deviation(schedule, step, upside_down=False):
    beta, _, bar, before = tables(schedule, step)
    ratio = (1 - before) / (1 - bar)
    return np.sqrt(beta / ratio if upside_down else beta * ratio)


def posterior_mean(schedule, x_0, x_t, step, swapped=False, late=False, roots=True):
    beta, alpha, bar, before = tables(schedule, step)
    before = bar if late else before
    root = np.sqrt if roots else float
    weight_x_0, weight_x_t = root(before) * beta / (1 - bar), root(alpha) * (1 - before) / (1 - bar)
    return weight_x_0 * (x_t if swapped else x_0) + weight_x_t * (x_0 if swapped else x_t)


def mean_from_noise(schedule, x_t, step, noise, power=0.5, sign=1, bottom=0.5):
    beta, alpha, bar, _ = tables(schedule, step)
    return (x_t - sign * beta / (1 - bar) ** bottom * noise) / alpha**power


def bits(bar, x_0):
    """The divergence per number, by integrating log density ratios."""
    z = np.linspace(-12, 12, 20_001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    x = np.sqrt(bar) * x_0[:, None] + np.sqrt(1 - bar) * z
    return np.mean(((x**2 - z**2 - np.log(1 - bar)) / 2 * weight).sum(1)) / np.log(2)


def rescaled(curve):
    return curve[0] * (curve - curve[-1]) / (curve[0] - curve[-1])


def betas_of(bars):
    return 1 - bars / np.concatenate([[1], bars[:-1]])


def image_share(schedule, step, v, late=0):
    bar = np.prod(1 - schedule.betas[: step + late])
    return 1 / (1 + (1 - bar) / (bar * v))


def turned(start, end, share):
    """Turn the start towards the end in the plane of the two: Gram and Schmidt."""
    unit = start / np.sqrt((start**2).sum())
    across = end - (end * unit).sum() * unit
    # The angle from both legs; a point between the two has the length that the sine rule gives it.
    angle = np.arctan2(np.sqrt((across**2).sum()), (end * unit).sum())
    coefficients = np.linalg.solve(
        np.array([[1, np.cos(angle)], [0, np.sin(angle)]]), [np.cos(share * angle), np.sin(share * angle)]
    )
    return coefficients[0] * start + coefficients[1] * end


def straight(start, end, share):
    return start + share * (end - start)


def away(image, photo, mirror=(1,)):
    sides = [photo, np.flip(photo, mirror)] if mirror else [photo]
    return min(np.linalg.norm((image - side).ravel()) for side in sides) / np.sqrt(image.size)


def loss_of_linear(schedule, step, variances, late=0):
    """The residual of a least-squares fit of the noise to x_t, axis by axis, over the corners of a square."""
    bar = tables(schedule, step + late)[2]
    image, noise = np.array([1, 1, -1, -1]), np.array([1, -1, 1, -1])
    seen = [np.sqrt(bar * v) * image + np.sqrt(1 - bar) * noise for v in variances]
    return np.mean([np.linalg.lstsq(x_t[:, None], noise)[1] / 4 for x_t in seen])


def error_of_image(schedule, step, loss, late=0, power=1.0):
    bar = tables(schedule, step + late)[2]
    return loss * (1 / bar - 1) ** power


RIGHT = {
    "noise-step": lambda x, beta, noise: x * (1 - beta) ** 0.5 + noise * beta**0.5,
    "half-amplitude": lambda schedule: 1 + sum(np.cumprod(1 - schedule.betas) > 0.25),
    "variance-after": lambda schedule, step, v: tables(schedule, step)[2] * v + 1 - tables(schedule, step)[2],
    "limit-variance": lambda beta: beta / (1 - (1 - beta) ** 2),
    "jump": lambda schedule, x, step, e: (
        tables(schedule, step)[2] ** 0.5 * x + (1 - tables(schedule, step)[2]) ** 0.5 * e
    ),
    "alpha-bar-from-log-snr": lambda log_snr: np.exp(log_snr) / (1 + np.exp(log_snr)),
    "kl-to-prior": bits,
    "zero-terminal-snr": lambda schedule: betas_of(rescaled(np.cumprod(1 - schedule.betas) ** 0.5) ** 2),
    "product-of-gaussians": lambda m, v, n, w: ((m / v + n / w) / (1 / v + 1 / w), 1 / (1 / v + 1 / w)),
    "posterior-mean": posterior_mean,
    "posterior-deviation": deviation,
    "mean-from-noise": mean_from_noise,
    "linear-loss": loss_of_linear,
    "image-error": error_of_image,
    "steps-to-forget": lambda decay, share: np.emath.logn(decay, share),
    "signal-share": image_share,
    "slerp": turned,
    "copy-distance": away,
}

WRONG = {
    "noise-step": {
        "beta is a variance": lambda x, beta, noise: np.sqrt(1 - beta) * x + beta * noise,
        "multiplied by the root of 1 - beta": lambda x, beta, noise: (1 - beta) * x + np.sqrt(beta) * noise,
        "image is not scaled": lambda x, beta, noise: x + np.sqrt(beta) * noise,
        "Both roots are missing": lambda x, beta, noise: (1 - beta) * x + beta * noise,
    },
    "half-amplitude": {
        "This is the array index": lambda schedule: np.argmax(np.sqrt(schedule.alpha_bars) <= 0.5),
        "half of the variance": lambda schedule: np.argmax(schedule.alpha_bars <= 0.5) + 1,
        "take the root, and add one": lambda schedule: np.argmax(schedule.alpha_bars <= 0.5),
        "not its square": lambda schedule: np.argmax(schedule.alpha_bars**2 <= 0.5) + 1,
    },
    "variance-after": {
        "random walk": lambda schedule, step, v: v + sum(schedule.betas[:step]),
        "noise's is missing": lambda schedule, step, v: v * tables(schedule, step)[2],
        "only if the data's is 1": lambda schedule, step, v: 1,
        "One step too many": lambda schedule, step, v: 1 + (v - 1) * schedule.alpha_bars[step],
        "This is one step": lambda schedule, step, v: 1 + (v - 1) * schedule.alphas[step - 1],
    },
    "limit-variance": {
        "1 is the limit with the factor sqrt": lambda beta: 1,
        "Keep beta in the formula": lambda beta: 1 / 2,
        "variance beta, not 1": lambda beta: 1 / (2 * beta - beta**2),
        "not beta squared": lambda beta: beta / (2 - beta),
    },
    "jump": {
        "alpha_bar_{t+1}": lambda schedule, x, step, e: RIGHT["jump"](schedule, x, step + 1, e),
        "alpha_t where alpha_bar_t belongs": lambda schedule, x, step, e: (
            tables(schedule, step)[1] ** 0.5 * x + tables(schedule, step)[0] ** 0.5 * e
        ),
        "Both roots are missing": lambda schedule, x, step, e: (
            tables(schedule, step)[2] * x + (1 - tables(schedule, step)[2]) * e
        ),
        "not a standard deviation": lambda schedule, x, step, e: (
            tables(schedule, step)[2] ** 0.5 * x + (1 - tables(schedule, step)[2]) * e
        ),
        "squares of the two factors": lambda schedule, x, step, e: (
            tables(schedule, step)[2] ** 0.5 * x + (1 - tables(schedule, step)[2] ** 0.5) * e
        ),
    },
    "alpha-bar-from-log-snr": {
        "signal-to-noise ratio. Solve": np.exp,
        "noise's share": lambda log_snr: 1 / (1 + np.exp(log_snr)),
        "root of alpha_bar": lambda log_snr: (1 + np.exp(-log_snr)) ** -0.5,
        "factor 2": lambda log_snr: 1 / (1 + np.exp(-2 * log_snr)),
    },
    "kl-to-prior": {
        "nats": lambda bar, x_0: bits(bar, x_0) * np.log(2),
        "sum over the dimensions": lambda bar, x_0: bits(bar, x_0) * len(x_0),
        "compares the variances is missing": lambda bar, x_0: np.mean(bar * x_0**2) / 2 / np.log(2),
        "prior comes second": lambda bar, x_0: (
            np.mean((1 + bar * x_0**2) / (1 - bar) - 1 + np.log(1 - bar)) / 2 / np.log(2)
        ),
        "factor 1/2": lambda bar, x_0: 2 * bits(bar, x_0),
    },
    "zero-terminal-snr": {
        "betas are asked for": lambda schedule: rescaled(np.sqrt(schedule.alpha_bars)) ** 2,
        "rule shifts its root": lambda schedule: betas_of(rescaled(schedule.alpha_bars)),
        "scale the root back": lambda schedule: betas_of(
            (schedule.alpha_bars**0.5 - schedule.alpha_bars[-1] ** 0.5) ** 2
        ),
        "one step jump": lambda schedule: np.where(
            np.arange(schedule.num_steps) < schedule.num_steps - 1, schedule.betas, 1
        ),
    },
    "product-of-gaussians": {
        "swapped": lambda m, v, n, w: ((m * v + n * w) / (v + w), v * w / (v + w)),
        "weighted average": lambda m, v, n, w: ((m + n) / 2, v * w / (v + w)),
        "add their inverses": lambda m, v, n, w: ((m * w + n * v) / (v + w), v + w),
        "sum of two independent": lambda m, v, n, w: (m + n, v + w),
        "inverse of the variance": lambda m, v, n, w: ((m * w + n * v) / (v + w), 1 / v + 1 / w),
    },
    "posterior-mean": {
        "alpha_bar_t where alpha_bar_{t-1} belongs": lambda *case: posterior_mean(*case, late=True),
        "weights are swapped": lambda *case: posterior_mean(*case, swapped=True),
        "roots are missing": lambda *case: posterior_mean(*case, roots=False),
        "One step too far": lambda schedule, x_0, x_t, step: posterior_mean(schedule, x_0, x_t, step + 1),
    },
    "posterior-deviation": {
        "a variance, not a standard deviation": lambda schedule, step: deviation(schedule, step) ** 2,
        "root of beta_t": lambda schedule, step: schedule.betas[step - 1] ** 0.5,
        "upside down": lambda schedule, step: deviation(schedule, step, upside_down=True),
        "One step too far": lambda schedule, step: deviation(schedule, step + 1),
    },
    "linear-loss": {
        "sum over the axes": lambda schedule, step, v: sum(loss_of_linear(schedule, step, [one]) for one in v),
        "mean of the fractions": lambda schedule, step, v: loss_of_linear(schedule, step, [v.mean()]),
        "share of the noise that is found": lambda *case: 1 - loss_of_linear(*case),
        "error of the clean image": lambda schedule, step, v: error_of_image(
            schedule, step, loss_of_linear(schedule, step, v)
        ),
        "One step too many": lambda *case: loss_of_linear(*case, late=1),
    },
    "image-error": {
        "upside down": lambda *case: error_of_image(*case, power=-1.0),
        "without the root": lambda *case: error_of_image(*case, power=0.5),
        "which is missing here": lambda schedule, step, loss: loss / tables(schedule, step)[2],
        "error in x_t": lambda schedule, step, loss: loss * (1 - tables(schedule, step)[2]),
        "One step too many": lambda *case: error_of_image(*case, late=1),
    },
    "steps-to-forget": {
        "Bring in the share": lambda decay, share: 1 / (1 - decay),
        "straight line": lambda decay, share: (1 - share) / (1 - decay),
        "upside down": lambda decay, share: 1 / np.emath.logn(decay, share),
        "this share is gone": lambda decay, share: np.emath.logn(decay, 1 - share),
        "newest weights": lambda decay, share: np.emath.logn(1 - decay, share),
    },
    "mean-from-noise": {
        "estimate of x_0": lambda schedule, x, step, e: (
            (x - (1 - tables(schedule, step)[2]) ** 0.5 * e) / tables(schedule, step)[2] ** 0.5
        ),
        "Divide by the root": lambda *case: mean_from_noise(*case, power=1),
        "solves one step": lambda schedule, x, step, e: (
            (x - tables(schedule, step)[0] ** 0.5 * e) / tables(schedule, step)[1] ** 0.5
        ),
        "divided by a standard deviation": lambda *case: mean_from_noise(*case, bottom=1),
        "noise is taken away": lambda *case: mean_from_noise(*case, sign=-1),
    },
    "signal-share": {
        "share for data of variance 1": lambda schedule, step, v: tables(schedule, step)[2],
        "image's variance": lambda schedule, step, v: tables(schedule, step)[2] * v,
        "image over noise": lambda schedule, step, v: v * tables(schedule, step)[2] / (1 - tables(schedule, step)[2]),
        "share of amplitude": lambda *case: image_share(*case) ** 0.5,
        "noise's share": lambda *case: 1 - image_share(*case),
        "One step too many": lambda *case: image_share(*case, late=1),
    },
    "slerp": {
        "straight line": straight,
        "not the speed": lambda a, b, share: (
            straight(a, b, share) / np.linalg.norm(straight(a, b, share)) * np.linalg.norm(a)
        ),
        "right angle only": lambda a, b, share: np.sin((1 - share) * np.pi / 2) * a + np.sin(share * np.pi / 2) * b,
        "swapped": lambda a, b, share: turned(a, b, 1 - share),
        "sine of the whole angle": lambda a, b, share: (
            turned(a, b, share) * (1 - (a * b).sum() ** 2 / ((a**2).sum() * (b**2).sum())) ** 0.5
        ),
    },
    "copy-distance": {
        "mirrored copy is a copy": lambda *pair: away(*pair, mirror=()),
        "upside down": lambda *pair: away(*pair, mirror=(0,)),
        "root is missing": lambda *pair: away(*pair) ** 2,
        "root of the sum": lambda image, photo: away(image, photo) * 48**0.5,
        "mean absolute": lambda image, photo: min(abs(image - side).mean() for side in (photo, photo[:, ::-1])),
    },
}


def said(capsys, name, answer):
    check(name, answer)
    return capsys.readouterr().out.strip()


def test_every_exercise_is_tested():
    assert set(RIGHT) == set(WRONG) == set(EXERCISES)
    assert all(len(answers) >= 3 for answers in WRONG.values())


@pytest.mark.parametrize("name", RIGHT)
def test_right_answer(capsys, name):
    assert said(capsys, name, RIGHT[name]) == f"{name}: right"


@pytest.mark.parametrize("name, message", [(name, message) for name, answers in WRONG.items() for message in answers])
def test_wrong_answer_is_explained(capsys, name, message):
    said_so = said(capsys, name, WRONG[name][message])
    assert said_so.startswith(f"{name}: not yet. ") and message in said_so


@pytest.mark.parametrize("name", EXERCISES)
def test_no_two_mistakes_look_alike(name):
    exercise = EXERCISES[name]
    answers = [exercise.right, *(mistake for mistake, _ in exercise.mistakes)]
    results = [[np.asarray(answer(*case), dtype=float) for case in exercise.cases] for answer in answers]
    for i, first in enumerate(results):
        for second in results[:i]:
            assert any(
                a.shape != b.shape or not np.allclose(a, b, rtol=1e-4) for a, b in zip(first, second, strict=True)
            )


def unfinished():
    raise NotImplementedError


@pytest.mark.parametrize("answer", [None, ..., lambda *case: None, lambda *case: ..., lambda *case: unfinished()])
def test_unfilled_answer(capsys, answer):
    assert said(capsys, "jump", answer) == "jump: not filled in yet"


@pytest.mark.parametrize(
    "name, answer, message",
    [
        ("jumps", RIGHT["jump"], "there is no such exercise; there are noise-step, "),
        ("limit-variance", 0.5, "hand over the function itself, not its result"),
        ("limit-variance", lambda: 1, "your function stopped with TypeError"),
        ("limit-variance", lambda beta: 1 / 0, "your function stopped with ZeroDivisionError: division by zero"),
        ("limit-variance", lambda beta: "half", "expected numbers, got str"),
        ("limit-variance", lambda beta: [beta, beta], "the result has shape (2,), where () is expected"),
        ("limit-variance", lambda beta: np.nan, "infinite or undefined numbers"),
        ("limit-variance", lambda beta: 0.7, "A number that should be 0.505051 is 0.7"),
    ],
)
def test_odd_answers_get_a_plain_sentence(capsys, name, answer, message):
    assert message in said(capsys, name, answer)


def test_single_precision_is_precise_enough(capsys):
    single = lambda *case: np.asarray(RIGHT["jump"](*case), dtype=np.float32)  # noqa: E731
    assert said(capsys, "jump", single) == "jump: right"


# ---- The chapters ---------------------------------------------------------------------------------------------------

STUBS_AND_SOLUTIONS = re.compile(r"^````\{dropdown\} Solution\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CHECK = re.compile(r'^check\("([a-z0-9-]+)", (\w+)\)$', re.MULTILINE)


def exercises():
    """Find (chapter, exercise, function's name, stub, solution) in the chapters' text."""
    found = []
    for path in sorted(BOOK.glob("[0-9]*.md")):
        stub = None
        for cell in jupytext.read(path).cells:
            asked = CHECK.search(cell.source) if cell.cell_type == "code" else None
            if asked:
                assert stub is None, f"{path.stem}: {stub[0]} has no solution"
                stub = (*asked.groups(), cell.source)
            for solution in STUBS_AND_SOLUTIONS.finditer(cell.source) if cell.cell_type == "markdown" else ():
                assert stub, f"{path.stem}: a solution without an exercise"
                found.append((path.stem, *stub, solution[1]))
                stub = None
        assert stub is None, f"{path.stem}: {stub} has no solution"
    return found


def test_every_exercise_stands_in_one_chapter():
    assert sorted(name for _, name, *_ in exercises()) == sorted(EXERCISES)


@pytest.mark.parametrize("chapter, name, function, stub, solution", exercises(), ids=lambda item: item.splitlines()[0])
def test_printed_solution_is_right_and_stub_is_empty(capsys, chapter, name, function, stub, solution):
    names = {"np": np, "check": check}
    exec(stub, names)
    assert capsys.readouterr().out == f"{name}: not filled in yet\n"
    assert stub.splitlines()[0] == solution.splitlines()[0], "stub and solution have different arguments"
    exec(solution, names)
    assert said(capsys, name, names[function]) == f"{name}: right"
