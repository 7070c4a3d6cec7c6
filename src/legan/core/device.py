"""Devices and the precision of their arithmetic: what `auto` means where, and autocast."""

import contextlib
import os

import torch

from legan.core.errors import ConfigError, no_such

PRECISIONS = ("auto", "bf16", "fp32")
PRECISION_VARIABLE = "LEGAN_PRECISION"


def mixed_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype that `precision` means on `device`: bfloat16, or None for plain float32.

    `auto` is bfloat16 where the hardware multiplies it (most GPUs, CPUs with AMX or AVX512-BF16). Where it is emulated, it
    takes about twice as long as float32. The environment variable LEGAN_PRECISION says what `auto` is instead, here and in all
    processes that are started: with fp32, results do not hang on the hardware.

    Raises:
        ConfigError: an unknown precision.
    """
    if precision == "auto":
        precision = os.environ.get(PRECISION_VARIABLE, precision)
    if precision not in PRECISIONS:
        raise ConfigError(no_such("precision", precision, PRECISIONS))
    if precision == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if fast else None
    return torch.bfloat16 if precision == "bf16" else None


def autocast(dtype: torch.dtype | None, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context in which convolutions run in `dtype`; None leaves float32."""
    return torch.autocast(device.type, dtype) if dtype is not None else contextlib.nullcontext()


def check_device(device: str) -> None:
    """Check that this machine has a device.

    Raises:
        ConfigError: it has not.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device '{device}' is not available here: choose cpu, or cuda where there is a GPU") from error
