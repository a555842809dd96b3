"""PyTorch's transformer encoder as plain matrix products of the same weights, for export."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

HIDDEN_SCORE = -1e9  # finite: -inf less -inf is no number, where a pixel had nothing to attend to


class PlainEncoderLayer(nn.Module):
    """An `nn.TransformerEncoderLayer` with `batch_first`, as it predicts: no dropout."""

    def __init__(self, layer: nn.TransformerEncoderLayer) -> None:
        super().__init__()
        attention = layer.self_attn
        if not attention.batch_first:
            raise ValueError("the encoder must have batch_first=True")
        self.heads, self.size = attention.num_heads, attention.head_dim
        # The scores' scale is put into the queries' weights: one operation less for each layer.
        scale = torch.ones(3 * attention.embed_dim)
        scale[: attention.embed_dim] = 1 / math.sqrt(self.size)
        self.into = nn.Parameter((attention.in_proj_weight * scale[:, None]).detach())
        self.into_bias = nn.Parameter((attention.in_proj_bias * scale).detach())
        self.out = attention.out_proj
        self.first_norm, self.second_norm, self.norm_first = layer.norm1, layer.norm2, layer.norm_first
        self.widen, self.narrow, self.activation = layer.linear1, layer.linear2, layer.activation

    def forward(self, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return tokens (n, period, width); `bias` (n, 1, 1, period) is added to the scores."""
        if self.norm_first:
            tokens = tokens + self._attended(self.first_norm(tokens), bias)
            return tokens + self._fed(self.second_norm(tokens))
        tokens = self.first_norm(tokens + self._attended(tokens, bias))
        return self.second_norm(tokens + self._fed(tokens))

    def _attended(self, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        _, periods, width = tokens.shape
        joint = functional.linear(tokens, self.into, self.into_bias)
        query, key, value = joint.reshape(-1, periods, 3, self.heads, self.size).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (query @ key.transpose(-1, -2) + bias).softmax(dim=-1)
        mixed: torch.Tensor = self.out((weights @ value).permute(0, 2, 1, 3).reshape(-1, periods, width))
        return mixed

    def _fed(self, tokens: torch.Tensor) -> torch.Tensor:
        fed: torch.Tensor = self.narrow(self.activation(self.widen(tokens)))
        return fed


class PlainEncoder(nn.Module):
    """An `nn.TransformerEncoder`, called in the same way with a padding mask only."""

    def __init__(self, encoder: nn.TransformerEncoder) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PlainEncoderLayer(layer) for layer in encoder.layers)
        self.norm = encoder.norm

    def forward(self, src: torch.Tensor, src_key_padding_mask: torch.Tensor) -> torch.Tensor:
        """Return tokens (n, period, width); `src_key_padding_mask` (n, period) marks those not attended to."""
        bias = torch.where(src_key_padding_mask, HIDDEN_SCORE, 0.0)[:, None, None, :]
        for layer in self.layers:
            src = layer(src, bias)
        return src if self.norm is None else self.norm(src)


def with_plain_encoders(model: nn.Module) -> nn.Module:
    """Replace, in place, every `nn.TransformerEncoder` within a model."""
    for name, child in model.named_children():
        if isinstance(child, nn.TransformerEncoder):
            setattr(model, name, PlainEncoder(child))
        else:
            with_plain_encoders(child)
    return model
