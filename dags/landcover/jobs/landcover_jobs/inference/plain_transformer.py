"""PyTorch's transformer encoder as few and large ONNX operations with the same weights, for export.

All products with weights are two-dimensional, so that they become Gemm with their bias, and attention is one operation:
of 12 dates, the many small products, transposes and sums around it cost more time than the arithmetic.
"""

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
        self.heads, self.width = attention.num_heads, attention.embed_dim
        # The scores' scale is put into the queries' weights.
        scale = torch.ones(3 * self.width)
        scale[: self.width] = 1 / math.sqrt(attention.head_dim)
        self.into = nn.Parameter((attention.in_proj_weight * scale[:, None]).detach())
        self.into_bias = nn.Parameter((attention.in_proj_bias * scale).detach())
        self.out = attention.out_proj
        self.first_norm, self.second_norm, self.norm_first = layer.norm1, layer.norm2, layer.norm_first
        self.widen, self.narrow, self.activation = layer.linear1, layer.linear2, layer.activation

    def forward(self, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return tokens (n, period, width); `bias` (n, 1, period, period) is added to the scores."""
        if self.norm_first:
            tokens = tokens + self._attended(self.first_norm(tokens), bias)
            return tokens + self._fed(self.second_norm(tokens))
        tokens = self.first_norm(tokens + self._attended(tokens, bias))
        after: torch.Tensor = self.second_norm(tokens + self._fed(tokens))
        return after

    def _attended(self, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        periods = tokens.shape[1]
        joint = functional.linear(self._flat(tokens), self.into, self.into_bias).reshape(-1, periods, 3 * self.width)
        query, key, value = torch.split(joint, self.width, dim=-1)
        mixed, *_ = torch.onnx.ops.attention(
            query, key, value, bias, q_num_heads=self.heads, kv_num_heads=self.heads, scale=1.0
        )
        attended: torch.Tensor = self.out(self._flat(mixed)).reshape(tokens.shape)
        return attended

    def _fed(self, tokens: torch.Tensor) -> torch.Tensor:
        fed: torch.Tensor = self.narrow(self.activation(self.widen(self._flat(tokens)))).reshape(tokens.shape)
        return fed

    def _flat(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.reshape(-1, self.width)


class PlainEncoder(nn.Module):
    """An `nn.TransformerEncoder`, called in the same way with a padding mask only."""

    def __init__(self, encoder: nn.TransformerEncoder) -> None:
        super().__init__()
        self.layers = nn.ModuleList(PlainEncoderLayer(layer) for layer in encoder.layers)
        self.norm = encoder.norm

    def forward(self, src: torch.Tensor, src_key_padding_mask: torch.Tensor) -> torch.Tensor:
        """Return tokens (n, period, width); `src_key_padding_mask` (n, period) marks those not attended to."""
        bias = torch.where(src_key_padding_mask, HIDDEN_SCORE, 0.0)[:, None, None, :]
        # onnxruntime 1.31 wants a row of the bias for each query.
        bias = bias.expand(-1, 1, src.shape[1], -1)
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
