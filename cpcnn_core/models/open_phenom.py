"""OpenPhenom: the encoder of a masked autoencoder that takes any number of channels.

Every channel is cut into patches by the same layer and gets the same positions; the patches
of all channels then attend to each other. Kraus et al. 2024, doi:10.48550/arXiv.2404.10242.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import nn

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.efficientnet import import_timm
from cpcnn_core.models.timm_network import POOLED, float_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

PATCH_PX = 16
NORM_EPSILON = 1e-6
# Of the layer scale; it is replaced with the weights.
SCALE_AT_START = 1e-4
LONGEST_WAVE = 10_000.0


class OpenPhenomNetwork(nn.Module):
    """The encoder of OpenPhenom, from crops to the mean over all patches of all channels.

    Parameters
    ----------
    px : int
        Side of the crops, a multiple of 16.
    width, depth, heads : int
        Of the transformer; the defaults are those of OpenPhenom-S/16.

    Raises
    ------
    WeightsError
        A side that cannot be cut into patches, a width that cannot be shared by the heads.

    Notes
    -----
    The class token takes part in attention and is left out of the mean. The mean is taken
    without a last normalisation: its authors' ``predict`` has none.

    Examples
    --------
    >>> net = OpenPhenomNetwork(32, width=16, depth=1, heads=2)
    >>> tuple(net(torch.zeros(2, 5, 32, 32)).shape)
    (2, 16)
    """

    tap = POOLED

    def __init__(self, px: int = 256, width: int = 384, depth: int = 12, heads: int = 6) -> None:
        super().__init__()
        if px % PATCH_PX:
            raise WeightsError(
                f"OpenPhenom takes crops whose side is a multiple of {PATCH_PX}, got {px}; "
                "correct the model's card"
            )
        if width % heads or width % 4:
            raise WeightsError(
                f"OpenPhenom's width is a multiple of 4 and of its heads, got {width} and {heads}; "
                "correct the model's card"
            )
        import_timm()
        from timm.models.vision_transformer import ParallelScalingBlock

        norm = functools.partial(nn.LayerNorm, eps=NORM_EPSILON)
        # These weights are replaced; the caller's random state stays as it was.
        with torch.random.fork_rng(devices=[]):
            self.patch_embed = nn.Conv2d(1, width, PATCH_PX, PATCH_PX)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
            self.blocks = nn.Sequential(
                *(
                    ParallelScalingBlock(
                        width,
                        heads,
                        qkv_bias=True,
                        qk_norm=True,
                        init_values=SCALE_AT_START,
                        norm_layer=norm,  # type: ignore[arg-type]  # timm only calls it
                    )
                    for _ in range(depth)
                )
            )
        positions = sine_positions(px // PATCH_PX, width)
        self.register_buffer("positions", positions, persistent=False)

    @property
    def embed_dim(self) -> int:
        """Number of features."""
        return self.cls_token.shape[-1]

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map standardized crops (n, c, px, px) to features (n, width)."""
        n, width = len(crops), self.embed_dim
        one_by_one = crops.reshape(-1, 1, *crops.shape[-2:])
        patches = self.patch_embed(one_by_one).flatten(2).transpose(1, 2) + self.positions
        tokens = torch.cat((self.cls_token.expand(n, -1, -1), patches.reshape(n, -1, width)), dim=1)
        result: torch.Tensor = self.blocks(tokens)[:, 1:].mean(dim=1)
        return result

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every weight this network needs, with its shape.

        Examples
        --------
        >>> OpenPhenomNetwork(32, width=16, depth=1, heads=2).weight_shapes()["cls_token"]
        (1, 1, 16)
        """
        return {name: tuple(value.shape) for name, value in float_weights(self).items()}

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take copies of the weights; names and shapes must be those of `weight_shapes`."""
        taken = {name: torch.from_numpy(weights[name].copy()) for name in self.weight_shapes()}
        self.load_state_dict(taken)


def sine_positions(side: int, width: int) -> torch.Tensor:
    """Return the position encoding of the patches of one channel.

    Parameters
    ----------
    side : int
        Patches along each axis.
    width : int
        A multiple of 4.

    Returns
    -------
    Tensor of shape (side * side, width), float32
        Patches row by row. A quarter each: sine and cosine of the row, sine and cosine of the
        column, times ``10000 ** (-k / (width / 4))`` for k = 0, 1, ...

    Examples
    --------
    >>> sine_positions(2, 4).round(decimals=2)[3].tolist()
    [0.8..., 0.5..., 0.8..., 0.5...]
    """
    waves = width // 4
    frequencies = LONGEST_WAVE ** (-torch.arange(waves, dtype=torch.float32) / waves)
    places = torch.arange(side, dtype=torch.float32)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    down = rows.reshape(-1, 1) * frequencies
    right = columns.reshape(-1, 1) * frequencies
    return torch.cat((down.sin(), down.cos(), right.sin(), right.cos()), dim=1)
