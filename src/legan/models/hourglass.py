"""Hourglass: the encoder-decoder that LEGAN uses three times (poster, section "Architecture").

7x7 convolution, two stride-2 convolutions, residual blocks with instance norm, two pixel-shuffle upsamplings, output convolution.
"""

from torch import Tensor, nn

from legan.models.blocks import ConvNorm, PixelUp, Residual


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
            of a code in the input only their edge at the zero padding is left, and nothing of the picture's brightness.
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
