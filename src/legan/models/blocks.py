"""Building blocks of the networks: normalisation, residual blocks, and the hourglass."""

import torch
from torch import Tensor, nn

# Blocks shared by the generators and critics.
#
# Convolution, instance norm, rectifier as in StarGAN (Choi et al., CVPR 2018); upsampling by pixel shuffle (Shi et al., CVPR 2016).


class PlainInstanceNorm(nn.InstanceNorm2d):
    """PyTorch's instance norm, with right gradients for a single image on a CPU too.

    PyTorch's own (2.14) are wrong for one channels-last image when the norm's output is added to something, as in a residual block:
    there the kernel of group norm, the same formula, takes its place.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        # Not len(x): tracing would take it for a constant.
        if not torch.is_grad_enabled() or x.device.type != "cpu" or x.shape[0] > 1:
            return super().forward(x)
        return nn.functional.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


class InstanceNorm(PlainInstanceNorm):
    """Instance norm with the kernel of group norm where that is faster: the same formula, without leaving channels-last.

    Only on a CPU without gradients, for planes of 32 x 32 and more: smaller planes, and the backward pass, are slower so.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        if torch.is_grad_enabled() or x.device.type != "cpu" or x.shape[2] * x.shape[3] < 1024:
            return super().forward(x)
        return nn.functional.group_norm(x, self.num_features, self.weight, self.bias, self.eps)


class ConvNorm(nn.Sequential):
    """conv -> instance norm -> ReLU. (B, n_in, H, W) -> (B, n_out, H/stride, W/stride).

    Args:
        n_in, n_out: channels.
        kernel: side of the kernel; 4 with stride 2, odd with stride 1.
        stride: 1 or 2.
        active: end with the ReLU.
        norm: False leaves the norm out.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int = 3, stride: int = 1, active: bool = True, norm: bool = True) -> None:
        padding = kernel // 2 if stride == 1 else (kernel - stride) // 2
        # With a norm its shift is the bias.
        layers: list[nn.Module] = [nn.Conv2d(n_in, n_out, kernel, stride, padding, bias=not norm)]
        if norm:
            layers.append(InstanceNorm(n_out, affine=True))
        if active:
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


class Residual(nn.Module):
    """x + ConvNorm(ConvNorm(x)), the second without ReLU. (B, C, H, W) -> the same."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(n_channels, n_channels), ConvNorm(n_channels, n_channels, active=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class PixelUp(nn.Sequential):
    """1x1 conv -> pixel shuffle by 2. (B, n_in, H, W) -> (B, n_out, 2H, 2W)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(nn.Conv2d(n_in, 4 * n_out, 1), nn.PixelShuffle(2))


def as_maps(code: Tensor, height: int, width: int) -> Tensor:
    """Repeat a code (B, n) over the plane: (B, n, height, width)."""
    return code[:, :, None, None].expand(-1, -1, height, width)


def mean_and_spread(x: Tensor) -> Tensor:
    """Mean and standard deviation of each channel: (B, C, H, W) -> (B, 2 C) float32. What instance norm takes away."""
    std, mean = torch.std_mean(x.float(), dim=(2, 3), correction=0)
    return torch.cat([mean, std], 1)


def count_parameters(net: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def count_gflop(net: nn.Module, *inputs: Tensor) -> float:
    """GFLOP of one forward pass (two per multiply-add), counted by torch on the call itself."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*inputs)
    return counter.get_total_flops() / 1e9


# Hourglass: the encoder-decoder that LEGAN uses three times (poster, section "Architecture").
#
# 7x7 convolution, two stride-2 convolutions, residual blocks with instance norm, two pixel-shuffle upsamplings, output convolution.


class Hourglass(nn.Module):
    """(B, n_in, H, W) -> (B, n_out, H, W); H and W are multiples of 4.

    Args:
        n_in, n_out: channels.
        width: channels at full resolution; twice and four times as many at half and quarter.
        n_residual: residual blocks at the bottom.
        kernel: side of the first and the last kernel.
        skip: add the encoder's features to the decoder's at equal resolution.
        n_code: length of a code that `forward` takes besides: linear layers of it are added to the features at the bottom and
            before the output, and the stem has no norm. Instance norm removes what is constant over the plane, so that of maps
            of a code in the input only their edge at the zero padding is left, and nothing of the image's brightness.
    """

    def __init__(
        self, n_in: int, n_out: int, width: int = 64, n_residual: int = 6, kernel: int = 7, skip: bool = False, n_code: int = 0
    ) -> None:
        super().__init__()
        self.skip = skip
        self.stem = ConvNorm(n_in, width, kernel, norm=n_code == 0)
        if n_code:
            self.at_bottom, self.at_output = nn.Linear(n_code, 4 * width), nn.Linear(n_code, width)
        self.down1 = ConvNorm(width, 2 * width, 4, stride=2)
        self.down2 = ConvNorm(2 * width, 4 * width, 4, stride=2)
        self.bottom = nn.Sequential(*[Residual(4 * width) for _ in range(n_residual)])
        self.up1 = nn.Sequential(PixelUp(4 * width, 2 * width), ConvNorm(2 * width, 2 * width))
        self.up2 = nn.Sequential(PixelUp(2 * width, width), ConvNorm(width, width))
        self.out = nn.Conv2d(width, n_out, kernel, 1, kernel // 2)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        full = self.stem(x)  # (B, width, H, W)
        half = self.down1(full)  # (B, 2 width, H/2, W/2)
        y = self.down2(half)  # (B, 4 width, H/4, W/4)
        if code is not None:
            y = y + self.at_bottom(code)[:, :, None, None]
        y = self.bottom(y)  # (B, 4 width, H/4, W/4)
        y = self.up1(y)  # (B, 2 width, H/2, W/2)
        if self.skip:
            y = y + half
        y = self.up2(y)  # (B, width, H, W)
        if self.skip:
            y = y + full
        if code is not None:
            y = y + self.at_output(code)[:, :, None, None]
        return self.out(y)
