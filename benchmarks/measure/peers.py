"""The peers' networks in the shape of ours, as near as their own options allow, and what one step of them does.

diffusers' `UNet2DModel` has a skip after every block (ours: one a level), a third block a level on the way up, strided
convolutions where we pool, a convolution after each upsampling, attention after every block of its level (ours: after
the last), attention as wide as the level's channels (ours: 256), and a time embedding of 128 (ours: 1024).

denoising-diffusion-pytorch's `Unet` has two skips a level, blocks on the way down as wide as the level above, 2x2
pixels packed into channels where we pool, a 7x7 stem, a convolution after each upsampling, linear attention at every
resolution without full attention, and a time embedding of 128.
"""

import importlib.util
import sys
import types

from ddpm_lib.config import UNetConfig


def diffusers_unet(config: UNetConfig, attention_once: bool = False):
    """Build `UNet2DModel` with the widths, blocks, groups, heads and attention resolutions of a configuration.

    Args:
        config: the shape.
        attention_once: keep the attention after the last block of a level only, as in our network. No option of
            `UNet2DModel` does that; the others are replaced by the identity.
    """
    import torch
    from diffusers import UNet2DModel

    sizes = [config.image_size // 2**level for level in range(len(config.widths))]
    attends = [size in config.attention_resolutions for size in sizes]
    # The option is the width of a head, one for all levels, so the level with attention decides.
    widths = [width for width, attention in zip(config.widths, attends, strict=True) if attention]
    network = UNet2DModel(
        sample_size=config.image_size,
        in_channels=config.channels,
        out_channels=config.channels,
        block_out_channels=config.widths,
        layers_per_block=config.blocks_per_level,
        norm_num_groups=config.groups,
        attention_head_dim=(widths or config.widths)[-1] // config.heads,
        dropout=config.dropout,
        resnet_time_scale_shift="scale_shift",
        down_block_types=["AttnDownBlock2D" if attention else "DownBlock2D" for attention in attends],
        up_block_types=["AttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(attends)],
    )
    network.mid_block.attentions[0].heads = config.heads
    if attention_once:
        for block in [*network.down_blocks, *network.up_blocks]:
            for number in range(len(getattr(block, "attentions", [])) - 1):
                block.attentions[number] = torch.nn.Identity()
    return network


def lucidrains_unet(config: UNetConfig):
    """Build denoising-diffusion-pytorch's `Unet` with our widths and heads, and full attention where we have it."""
    if importlib.util.find_spec("torchvision") is None:
        # The package reads images with torchvision; its network does without.
        for name in ("torchvision", "torchvision.transforms", "torchvision.utils", "torchvision.models"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
        sys.modules["torchvision"].utils = sys.modules["torchvision.utils"]
    from denoising_diffusion_pytorch.denoising_diffusion_pytorch import Unet

    sizes = [config.image_size // 2**level for level in range(len(config.widths))]
    return Unet(
        config.widths[0],
        dim_mults=tuple(width // config.widths[0] for width in config.widths),
        channels=config.channels,
        full_attn=tuple(size in config.attention_resolutions for size in sizes),
        attn_heads=config.heads,
        attn_dim_head=config.attention_dim // config.heads,
        flash_attn=True,
    )


def torch_train_step(network, batch_size: int, image_size: int, channels_last: bool, half: bool = False):
    """Return a function that takes one optimizer step of the peers' usual training loop on random images.

    Algorithm 1 with fused AdamW and clipping of the gradient norm. No average of the weights: neither peer's example
    needs one, and leaving it out is to their benefit. On a GPU the network is compiled; for a CPU that takes minutes.

    Args:
        network: a module of PyTorch.
        batch_size: images.
        image_size: pixels.
        channels_last: the layout of images in memory.
        half: compute in bfloat16 where PyTorch finds it safe.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(device, memory_format=layout).train()
    predict = torch.compile(network) if device == "cuda" else network
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)
    alpha_bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, device=device), 0)
    x_0 = torch.rand(batch_size, 3, image_size, image_size, device=device).mul(2).sub(1).to(memory_format=layout)

    def step():
        t = torch.randint(0, 1000, (batch_size,), device=device)
        noise = torch.randn_like(x_0)
        alpha_bar = alpha_bars[t][:, None, None, None]
        with torch.autocast(device, torch.bfloat16, enabled=half):
            noise_pred = predict(alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise, t)
        torch.nn.functional.mse_loss(getattr(noise_pred, "sample", noise_pred).float(), noise).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def count_gflop(network, *arguments) -> dict[str, float]:
    """Count the operations of one image's forward and backward pass, by PyTorch's own counter, in 10^9.

    A multiplication and an addition are two. Convolutions and matrix products count, those of attention included:
    attention is computed in its plain form here, because the counter knows no fused one on CPUs.

    Args:
        network: a module of PyTorch.
        *arguments: one image and its step, as the network takes them.

    Returns:
        The count by kind of product.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    for module in network.modules():
        if hasattr(module, "flash"):  # denoising-diffusion-pytorch chooses the form itself
            module.flash = False
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        noise_pred = network(*arguments)
        getattr(noise_pred, "sample", noise_pred).square().mean().backward()
    kinds = {
        "convolution": "convolutions, forward",
        "convolution_backward": "convolutions, backward",
        "bmm": "attention, products",
        "baddbmm": "attention, products",
        "mm": "dense layers",
        "addmm": "dense layers",
    }
    by_kind = dict.fromkeys(kinds.values(), 0.0)
    for operation, flops in counter.get_flop_counts()["Global"].items():
        by_kind[kinds[str(operation).removeprefix("aten.")]] += flops / 1e9
    return by_kind
