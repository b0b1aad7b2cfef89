"""SubCell: a vision transformer whose patches vote for themselves, run once for each stain.

A network of SubCell takes reference stains (endoplasmic reticulum, nucleus) and one stain of
interest. On Cell Painting its authors run it once for each stain that is not a reference and
put the features side by side. Gupta et al. 2024, doi:10.1101/2024.12.06.627299.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from cpcnn_core.errors import WeightsError
from cpcnn_core.models.efficientnet import import_timm
from cpcnn_core.models.timm_network import POOLED, float_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

PATCH_PX = 16
NORM_EPSILON = 1e-12
# Spread of the positions before there are weights.
POSITIONS_AT_START = 0.02


class SubCellNetwork(nn.Module):
    """A network of SubCell and the channels it is run on, one pass after the other.

    Parameters
    ----------
    channels : sequence of str
        Names of the crops' channels.
    passes : sequence of sequence of str
        For each pass the channels that go in together, in the order the weights expect.
    native_px : int
        Side of the crops for which the weights hold positions.
    width, depth, heads : int
        Of the transformer.
    hidden, views : int
        Of the gated attention: its inner width, and how many weighted means it takes.

    Raises
    ------
    WeightsError
        Passes of different lengths, or with channels that the crops do not have; a width that
        cannot be shared by the heads.

    Examples
    --------
    >>> small = {"native_px": 32, "width": 16, "depth": 1, "heads": 2, "hidden": 4}
    >>> net = SubCellNetwork(("DNA", "ER", "RNA"), (("DNA", "ER"), ("DNA", "RNA")), **small)
    >>> tuple(net(torch.zeros(3, 3, 40, 40)).shape)
    (3, 64)
    """

    tap = POOLED

    def __init__(
        self,
        channels: Sequence[str],
        passes: Sequence[Sequence[str]],
        native_px: int = 448,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        hidden: int = 512,
        views: int = 2,
    ) -> None:
        super().__init__()
        self.passes = _numbers(channels, passes)
        if width % heads:
            raise WeightsError(
                f"SubCell's width is a multiple of its heads, got {width} and {heads}; correct the "
                "model's card"
            )
        import_timm()
        from timm.models.vision_transformer import Block

        norm = functools.partial(nn.LayerNorm, eps=NORM_EPSILON)
        self.native_side = native_px // PATCH_PX
        # These weights are replaced; the caller's random state stays as it was.
        with torch.random.fork_rng(devices=[]):
            self.patch_embed = nn.Conv2d(len(passes[0]), width, PATCH_PX, PATCH_PX)
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
            positions = torch.randn(1, 1 + self.native_side**2, width)
            self.pos_embed = nn.Parameter(POSITIONS_AT_START * positions)
            self.blocks = nn.Sequential(
                *(
                    Block(
                        width,
                        heads,
                        qkv_bias=True,
                        norm_layer=norm,  # type: ignore[arg-type]  # timm only calls it
                    )
                    for _ in range(depth)
                )
            )
            self.norm = norm(width)
            self.pool = GatedAttention(width, hidden, views)

    @property
    def embed_dim(self) -> int:
        """Number of features, of all passes together."""
        return len(self.passes) * self.pool.attention.out_features * self.cls_token.shape[-1]

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Map standardized crops (n, c, h, w) to features (n, embed_dim)."""
        passes = torch.stack([crops[:, numbers] for numbers in self.passes], dim=1)
        return self.one_pass(passes.flatten(0, 1)).reshape(len(crops), -1)

    def one_pass(self, crops: torch.Tensor) -> torch.Tensor:
        """Map crops with the channels of one pass (n, k, h, w) to features (n, views * width)."""
        patches = self.patch_embed(crops)
        grid = patches.shape[-2:]
        tokens = torch.cat(
            (self.cls_token.expand(len(crops), -1, -1), patches.flatten(2).transpose(1, 2)), dim=1
        )
        tokens = tokens + self.positions(grid)
        result: torch.Tensor = self.pool(self.norm(self.blocks(tokens)))
        return result

    def positions(self, grid: tuple[int, int]) -> torch.Tensor:
        """Return the positions of class token and patches (1, 1 + rows * columns, width).

        Other grids than that of the weights get positions between theirs, bicubic.
        """
        side = self.native_side
        if tuple(grid) == (side, side):
            return self.pos_embed
        patches = self.pos_embed[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        # In float32: PyTorch's bicubic on a CPU has no other kind everywhere.
        between = functional.interpolate(
            patches.float(), size=tuple(grid), mode="bicubic", align_corners=False
        ).to(patches.dtype)
        return torch.cat((self.pos_embed[:, :1], between.flatten(2).transpose(1, 2)), dim=1)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name every weight this network needs, with its shape.

        Examples
        --------
        >>> small = {"native_px": 32, "width": 16, "depth": 1, "heads": 2, "hidden": 4}
        >>> SubCellNetwork(("DNA", "ER"), (("DNA", "ER"),), **small).weight_shapes()["pos_embed"]
        (1, 5, 16)
        """
        return {name: tuple(value.shape) for name, value in float_weights(self).items()}

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take copies of the weights; names and shapes must be those of `weight_shapes`."""
        taken = {name: torch.from_numpy(weights[name].copy()) for name in self.weight_shapes()}
        self.load_state_dict(taken)


class GatedAttention(nn.Module):
    """Weighted means over tokens; the weights come from the tokens themselves.

    Parameters
    ----------
    width, hidden, views : int

    Notes
    -----
    ``softmax over tokens of A(tanh(V x) * gelu(U x))``, Ilse et al. 2018
    (doi:10.48550/arXiv.1802.04712) with a GELU in place of their sigmoid. The class token is
    one of the tokens.

    Examples
    --------
    >>> tuple(GatedAttention(8, 4, 2)(torch.zeros(3, 5, 8)).shape)
    (3, 16)
    """

    def __init__(self, width: int, hidden: int, views: int) -> None:
        super().__init__()
        self.attention_v = nn.Linear(width, hidden)
        self.attention_u = nn.Linear(width, hidden)
        self.attention = nn.Linear(hidden, views)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens (n, t, width) to their weighted means (n, views * width)."""
        gate = functional.gelu(self.attention_u(tokens))
        scores = self.attention(torch.tanh(self.attention_v(tokens)) * gate)
        result: torch.Tensor = (scores.softmax(dim=1).transpose(1, 2) @ tokens).flatten(1)
        return result


def _numbers(channels: Sequence[str], passes: Sequence[Sequence[str]]) -> list[list[int]]:
    asked = sorted({name for names in passes for name in names} - set(channels))
    if not passes or asked or len({len(names) for names in passes}) != 1:
        raise WeightsError(
            f"SubCell's passes take equally many of the channels {', '.join(channels)}, got "
            f"{[list(names) for names in passes]}; correct the model's card"
        )
    return [[list(channels).index(name) for name in names] for names in passes]
