"""The benchmarks: their arithmetic on numbers worked out by hand, their files, and every number that is quoted."""

import importlib.util
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys

import pytest

from ddpm_lib.config import PRESETS
from ddpm_lib.cost import NUM_CELEBA_IMAGES, predict_epoch_seconds, step_cost, what_fits
from ddpm_lib.unet import build_unet

ROOT = pathlib.Path(__file__).parents[1]
RESULTS = {path.stem: json.loads(path.read_text("utf8")) for path in (ROOT / "benchmarks" / "results").glob("*.json")}
OURS = "ours"

# What the texts say with numbers of the files of results, by key.
QUOTES = {
    "README.md": [
        "{training[train_ratio_vs_diffusers]:.1f} times as fast as diffusers' `UNet2DModel`",
        "{training[train_ratio_vs_diffusers_attention_once]:.1f} times where that has no more attention than ours",
        "{training[train_ratio_vs_denoising_diffusion_pytorch]:.1f} times as fast as denoising-diffusion-pytorch",
        "{sampling[sample_ratio_vs_diffusers]:.1f} times as fast as diffusers' `DDPMPipeline`",
    ],
    "book/speed.md": [
        "Our step is {training[train_ratio_vs_diffusers]:.2f} times as fast as diffusers' faster layout, and "
        "{training[train_ratio_vs_denoising_diffusion_pytorch]:.2f} times as fast as denoising-diffusion-pytorch.",
        "two cores of an {training[machine][processor]}, TensorFlow {training[versions][tensorflow]}, Keras "
        "{training[versions][keras]}, PyTorch {training[versions][torch]}, diffusers "
        "{training[versions][diffusers]}, denoising-diffusion-pytorch "
        "{training[versions][denoising-diffusion-pytorch]}.",
        "Other processes took at most {training[taken_by_others]:.0%} of the processors' time.",
        "Against it, ours is {training[train_ratio_vs_diffusers_attention_once]:.2f} times as fast.",
        "It was {training[convolution_peak_gflops]:.0f} GFLOP/s.",
        "attention products take {training[variants][ours][gflop_per_image_by_kind][attention, products]:.1f} GFLOP an "
        "image here, and {training[variants][diffusers, channels_last, attention once a level]"
        "[gflop_per_image_by_kind][attention, products]:.1f} there.",
        "of which its products {profile[kinds][attention, products][share]:.0%}, the softmax "
        "{profile[kinds][attention, softmax][share]:.0%}, and the rest of it "
        "{profile[kinds][attention, the rest][share]:.0%}. The products reach "
        "{profile[kinds][attention, products][gflops]:.0f} GFLOP/s.",
        "convolutions reach {profile[kinds][convolutions, forward][gflops]:.0f} GFLOP/s forward and "
        "{profile[kinds][convolutions, backward][gflops]:.0f} backward.",
        "clipping and Adam take {profile[kinds][clipping and Adam][share]:.0%}, the average of the weights "
        "{profile[kinds][average of the weights][share]:.0%}.",
        "Our `ddpm_sample` is {sampling[sample_ratio_vs_diffusers]:.2f} times as fast as diffusers' `DDPMPipeline` in "
        "its faster layout.",
        "| `ddpm_sample` | {sampling[sampler_overhead][ddpm_sample]:.1%} |",
        "| `ddim_sample` | {sampling[sampler_overhead][ddim_sample]:.1%} |",
        "| `dpm_solver_pp_sample` | {sampling[sampler_overhead][dpm_solver_pp_sample]:.1%} |",
        "the step would be {profile_sampling[speedup_if_products_ran_at_the_peak]:.2f} times as fast",
    ],
}


@pytest.fixture
def benchmark(monkeypatch):
    """Return a function that imports a script of `benchmarks/`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.fixture(scope="module")
def network():
    return build_unet(PRESETS["celeba64"].unet)


def test_ratio_is_the_median_over_rounds_against_the_faster_layout_of_each_round(benchmark):
    speeds = {
        "ours": [6.0, 8.0, 5.0],
        "diffusers, NCHW": [2.0, 4.0, 1.0],
        "diffusers, channels_last": [3.0, 2.0, 2.0],
    }
    figures = {
        name: [
            {"images_per_second": x, "taken_by_others": 0.01, "parameters": 7, "peak_memory_mib": 1.0} for x in rounds
        ]
        for name, rounds in speeds.items()
    }
    for name, peak in zip(figures, (90.0, 100.0, 50.0), strict=True):
        for figure in figures[name]:
            figure["convolution_gflops"] = peak
    results = benchmark("training").compare(figures, {"ours": {"gflop_per_image": 5.0}})
    assert results["train_ratio_vs_diffusers"] == 2.0  # of 6/3, 8/4, 5/2
    assert results["train_ratio_vs_denoising_diffusion_pytorch"] is None
    assert results["variants"]["ours"]["images_per_second"] == 6.0
    assert results["variants"]["ours"]["gflops"] == 30.0
    assert results["variants"]["ours"]["share_of_convolution_peak"] == pytest.approx(0.3)
    assert "gflops" not in results["variants"]["diffusers, NCHW"]


def test_sampling_ratio_and_overhead_are_medians_over_rounds(benchmark):
    ours = [
        {"image_steps_per_second": x, "taken_by_others": 0.0, "overhead": {"ddpm_sample": y}}
        for x, y in [(12.0, 0.01), (15.0, 0.03), (20.0, 0.02)]
    ]
    theirs = [{"image_steps_per_second": x, "taken_by_others": 0.2} for x in (6.0, 5.0, 5.0)]
    slower = [{"image_steps_per_second": 1.0, "taken_by_others": 0.0}] * 3
    sampling = benchmark("sampling")
    results = sampling.compare({"ours": ours, "diffusers, NCHW": slower, "diffusers, channels_last": theirs})
    assert results["sample_ratio_vs_diffusers"] == 3.0  # of 2, 3, 4
    assert results["sampler_overhead"] == {"ddpm_sample": 0.02}
    assert "sample_ratio_vs_diffusers" not in sampling.compare({"ours": ours})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ddpm_1/unet_1/up_8_block_2_1/conv_1_1/BiasAdd:_MklNativeFusedConv2D", "convolutions, forward"),
        (
            "gradient_tape/ddpm_1/unet_1/up_8_block_1_1/conv_1_1/convolution/Conv2DBackpropInput:Conv2DBackpropInput",
            "convolutions, backward",
        ),
        ("map_1/while/body/_9/map_1/while/MatMul_1:_MklMatMul", "attention, products"),
        (
            "unet_1/up_32_attention_1/map/while/body/_2/up_32_attention_1/map/while/Softmax:Softmax",
            "attention, softmax",
        ),
        ("map/while/body/_2/map/while/sub:Sub", "attention, the rest"),
        ("ddpm_1/unet_1/up_32_attention_1/query_key_value_1/Tensordot/MatMul:_MklMatMul", "dense layers"),
        ("gradient_tape/ddpm_1/unet_1/up_8_block_1_1/norm_1_1/moments/Tile:Tile", "group norms"),
        ("random_normal/StatelessRandomNormalV2:StatelessRandomNormalV2", "SiLU, residuals and the rest"),
        ("adam/Sqrt_7:Sqrt", "clipping and Adam"),
        ("average/mul_3:Mul", "average of the weights"),
        ("ddpm_1/unet_1/up_16_upsample_1/stack:Pack", "pooling, upsampling, skips"),
        ("Sigmoid_12:Sigmoid", "SiLU, residuals and the rest"),
    ],
)
def test_operations_are_booked_by_kind(benchmark, name, kind):
    sums = benchmark("profile_step").by_kind({name: 2.0})
    assert sums[kind] == 2.0 and sum(sums.values()) == 2.0


def test_what_is_not_installed_is_skipped_by_name(benchmark, capsys):
    measure = benchmark("measure")
    assert measure.installed({"ours": (), "theirs": ("json", "no_such_package")}) == ["ours"]
    assert capsys.readouterr().out == "skipped: theirs (no_such_package is not installed)\n"


def test_first_calls_are_not_timed_and_functions_take_turns(benchmark):
    calls = []
    seconds, others = benchmark("measure").time_calls({name: lambda name=name: calls.append(name) for name in "ab"}, 2)
    assert calls == list("ab" * 3)
    assert [len(row) for row in seconds.values()] == [2, 2] and others >= 0


def test_counted_operations_are_those_that_the_shapes_of_the_weights_tell(network):
    """Two for each weight and pixel it meets, and for each pair of pixels in attention; backward twice as many."""
    unet = PRESETS["celeba64"].unet
    forward = first_layers = 0
    for weight in network.trainable_weights:
        if not weight.path.endswith("kernel"):
            continue
        layer = weight.path.split("/")[0]
        size = re.search(r"(?:down|up)_(\d+)_", layer)
        side = int(size[1]) if size else {"middle": 8, "stem": 64, "head": 64, "time": 1}[layer.split("_")[0]]
        pixels = 1 if "scale_and_shift" in weight.path else side**2
        flops = 2 * math.prod(weight.shape) * pixels
        forward += flops
        first_layers += flops if layer in ("stem", "time_dense_1") else 0
    # Scores, and the values mixed by them: at 32 pixels down and up, and at the bottleneck's 8.
    forward += sum(2 * 2 * (side**2) ** 2 * unet.attention_dim for side in (32, 32, 8))
    # Nobody asks for the gradient of the image and of the sinusoid.
    expected = 3 * forward - first_layers
    counted = RESULTS["training"]["variants"][OURS]["gflop_per_image"]
    assert counted == pytest.approx(expected / 1e9, rel=1e-4)


# In a process of its own: TensorFlow and the Triton that comes with PyTorch for CUDA abort when both are in one.
SHAPE_OF_PEERS = """
import json

from measure.peers import diffusers_unet

from ddpm_lib.config import PRESETS

for once in (False, True):
    network = diffusers_unet(PRESETS["celeba64"].unet, attention_once=once)
    heads = [module.heads for module in network.modules() if type(module).__name__ == "Attention"]
    print(json.dumps({"heads": heads, "widths": network.config.block_out_channels}))
"""


def test_peers_have_our_widths_heads_and_attention():
    if importlib.util.find_spec("diffusers") is None:
        pytest.skip("diffusers is not installed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "benchmarks")])}
    done = subprocess.run([sys.executable, "-c", SHAPE_OF_PEERS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    unet = PRESETS["celeba64"].unet
    for line, attention_layers in zip(done.stdout.splitlines(), (5, 2), strict=True):
        assert json.loads(line) == {"heads": [unet.heads] * (attention_layers + 1), "widths": list(unet.widths)}


def test_devices_are_compared_with_one_that_has_the_whole_batch_and_with_one_that_has_their_share(benchmark):
    figures = {
        name: [
            {
                "images_per_second": speed,
                "processor_seconds_per_image": spent,
                "all_reduce_seconds": 0.5,
                "parameters": 1000,
                "taken_by_others": 0.1,
            }
            for speed, spent in rounds
        ]
        for name, rounds in {
            "jax, 1, 8": [(10.0, 1.0), (20.0, 1.0), (10.0, 1.0)],
            "jax, 1, 16": [(12.0, 2.0), (12.0, 4.0), (12.0, 4.0)],
            "jax, 2, 8": [(15.0, 3.0), (20.0, 8.0), (18.0, 4.0)],
            "jax, 1, 32": [(9.0, 1.0)] * 3,
            "jax, 2, 16": [(9.0, 1.5)] * 3,
        }.items()
    }
    rows = benchmark("devices").compare(figures, bandwidth=1000.0)
    assert rows["jax, 2, 8"]["efficiency"] == 0.75  # of 15/10, 20/20, 18/10, on two
    assert rows["jax, 2, 8"]["processor_time_over_one_device"] == 1.5  # of 3/2, 8/4, 4/4
    assert rows["jax, 2, 16"]["processor_time_over_one_device"] == 1.5
    assert rows["jax, 2, 8"]["predicted_all_reduce_seconds"] == 2 * 4000 / 1000.0
    assert rows["jax, 1, 8"]["efficiency"] == rows["jax, 1, 8"]["processor_time_over_one_device"] == 1.0


def test_devices_agree_to_rounding_and_paper_follows_from_its_step_and_link(benchmark):
    results = RESULTS["devices"]
    for row in results["equality"]["largest_difference"].values():
        assert max(row["weights"], row["average"], row["loss"]) < 1e-6 < 1e-3 < row["moved"]
    assert len(results["equality"]["largest_difference"]) == 2
    for row in results["on_paper"]:
        step, total = row["step_seconds"], row["all_reduce_seconds"]
        assert row["efficiency"] == pytest.approx(step / (step + total), rel=1e-3)
        assert total == pytest.approx(row["all_reduce_bytes"] / benchmark("devices").LINKS[row["link"]], rel=1e-3)


def test_files_say_where_and_how_they_were_made():
    for name in ("training", "sampling", "profile", "profile_sampling", "metrics", "devices"):
        results = RESULTS[name]
        assert results["command"].startswith("python benchmarks/")
        assert results["machine"]["threads"] >= 1 and results["versions"]["keras"]


@pytest.mark.parametrize("name", ["digits", "faces"])
def test_distances_rise_when_pictures_are_made_worse(name, benchmark):
    results, rises = RESULTS["metrics"][name], benchmark("metrics").rises
    assert {kind: rises(results["rows"], kind) for kind in ("noise", "blur", "pixelation")} == results["rises"]
    assert all(results["rises"].values())
    untouched, worst = results["rows"][0], max(results["rows"], key=lambda row: row["frechet_distance"])
    assert untouched["strength"] == 0 and worst["frechet_distance"] > 20 * untouched["frechet_distance"]


def test_ratios_follow_from_the_rounds():
    for name, key, speed in [
        ("training", "train_ratio_vs_diffusers", "rounds_images_per_second"),
        ("sampling", "sample_ratio_vs_diffusers", "rounds_image_steps_per_second"),
    ]:
        rows = RESULTS[name]["variants"]
        layouts = zip(rows["diffusers, NCHW"][speed], rows["diffusers, channels_last"][speed], strict=True)
        ratios = [a / max(b) for a, b in zip(rows[OURS][speed], layouts, strict=True)]
        assert RESULTS[name][key] == pytest.approx(statistics.median(ratios), rel=1e-3)


@pytest.mark.parametrize("name", ["profile", "profile_sampling"])
def test_profile_adds_up(name):
    kinds = RESULTS[name]["kinds"].values()
    assert sum(row["share"] for row in kinds) == pytest.approx(1, abs=1e-3)
    assert sum(row["seconds"] for row in kinds) == pytest.approx(RESULTS[name]["profiled_seconds"], rel=1e-3)


def test_speedup_at_the_peak_is_that_of_the_counted_kinds_alone(benchmark):
    figures = {"seconds": {"products": 2.0, "the rest": 2.0, "none": 0.0}, "step_seconds": 4.0, "taken_by_others": 0.0}
    results = benchmark("profile_step").compare(figures, {"products": 50.0}, batch_size=2, peak=100.0)
    assert results["kinds"]["products"]["gflops"] == 50.0 and "none" not in results["kinds"]
    assert results["speedup_if_products_ran_at_the_peak"] == pytest.approx(4 / 3)


def test_attention_takes_more_than_half_of_the_step_and_convolutions_run_near_the_peak():
    kinds = RESULTS["profile"]["kinds"]
    assert sum(row["share"] for name, row in kinds.items() if name.startswith("attention")) > 0.5
    peak = RESULTS["training"]["convolution_peak_gflops"]
    assert all(row["gflops"] > 0.65 * peak for name, row in kinds.items() if name.startswith("convolutions"))


def test_memory_page_shows_what_was_measured_and_what_the_model_says_today(benchmark):
    memory, unet = benchmark("memory"), PRESETS["celeba64"].unet
    page = (ROOT / "book/memory.md").read_text("utf8")
    assert memory.table(RESULTS["memory"], "tensorflow") in page and memory.table(RESULTS["memory"], "jax") in page
    assert what_fits(unet, 16) in page
    for name, row in RESULTS["memory"]["variants"].items():
        backend, variant = name.split(", ", 1)
        predicted = step_cost(unet, **memory.parse(variant)).peak_bytes / 2**20
        assert row["predicted_mib"] == pytest.approx(predicted, rel=1e-4)
        assert backend != "tensorflow" or row["mib"] == pytest.approx(predicted, rel=0.2)


def test_fixed_costs_are_ratios_round_by_round(benchmark):
    names = [*benchmark("fixed_costs").FULL, *benchmark("fixed_costs").EMPTY]
    seconds = {name: [1.0, 2.0, 3.0] for name in names}
    seconds["no work, eager"] = [20.0, 60.0, 30.0]
    seconds["graph, batch 16"] = [2.0, 3.0, 9.0]
    found = benchmark("fixed_costs").compare(seconds)
    assert found["eager_over_graph_without_work"] == 20.0  # of 20, 30, 10
    assert found["batch_16_over_batch_8"] == 2.0  # of 2, 1.5, 3
    assert found["seconds"]["no work, eager"] == 30.0


def test_what_the_chapter_says_of_fixed_costs_is_what_was_measured():
    found = RESULTS["fixed_costs"]
    assert all(11_500 < count < 13_500 for count in found["eager_operations"].values())  # some twelve thousand
    assert found["eager_over_graph_without_work"] > 20 and round(found["eager_over_graph"], 1) == 1.6
    assert found["graph_over_xla_without_work"] > 1.2
    eight, sixteen = (found["seconds"][f"graph, batch {size}"] for size in (8, 16))
    assert 0 < 2 * eight - sixteen < 0.1 * eight  # some percent of a step of eight images
    predicted = predict_epoch_seconds(PRESETS["celeba64"].unet, "T4", 8, attention="plain")
    missing = (13_672 - predicted) * 8 / NUM_CELEBA_IMAGES
    assert 0.75 < found["seconds"]["no work, eager"] / missing < 1  # most of it
    beside_work = found["seconds"]["eager, batch 8"] - eight
    assert 0.5 < (found["seconds"]["no work, eager"] - found["seconds"]["no work, graph"]) / beside_work < 0.66


def section(path):
    """Return the part of a text that quotes the results: a whole page, or the README's section."""
    text = (ROOT / path).read_text("utf8")
    return text.split("\n## How fast\n")[1].split("\n## ")[0] if path == "README.md" else text


@pytest.mark.parametrize("path", ["README.md", "book/speed.md"])
def test_every_number_quoted_is_the_files(path, benchmark):
    text = " ".join(section(path).split())  # lines may break anywhere
    tables = [
        benchmark("training").table(RESULTS["training"]),
        benchmark("sampling").table(RESULTS["sampling"]),
        benchmark("profile_step").table(RESULTS["profile"]),
        benchmark("profile_step").table(RESULTS["profile_sampling"]),
    ]
    expected = [quote.format(**RESULTS) for quote in QUOTES[path]] + (tables if path == "book/speed.md" else [])
    for quote in (" ".join(quote.split()) for quote in expected):
        assert quote in text, f"{path} does not say (any more): {quote}"
        text = text.replace(quote, "")
    assert not re.findall(r"\d+\.\d+|\d+ ?%", text), "numbers that no file of results is named for"
