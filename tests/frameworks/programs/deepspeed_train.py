"""Train a small network with DeepSpeed, on GPUs or, with DS_ACCELERATOR=cpu, without; ZeRO shares out its optimizer."""

import json
import os
from pathlib import Path

import deepspeed
import torch
from torch import nn

STEPS = 20
CONFIG = {
    "train_batch_size": 64,
    "zero_optimization": {"stage": 1},
    "zero_allow_untested_optimizer": True,
}


def main():
    """Train, and let the first process write the loss at the start and at the end."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    # Else, without GPUs, DeepSpeed compiles collectives for processes that share memory, for a minute.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()
    engine, _, _, _ = deepspeed.initialize(
        model=model, optimizer=torch.optim.Adam(model.parameters(), lr=0.01), config=CONFIG
    )
    generator = torch.Generator().manual_seed(engine.global_rank)
    losses = []
    for _ in range(STEPS):
        points = torch.randn(engine.train_micro_batch_size_per_gpu(), 8, generator=generator).to(engine.device)
        loss = nn.functional.mse_loss(engine(points), points.sin().sum(dim=1, keepdim=True))
        engine.backward(loss)
        engine.step()
        losses.append(loss.item())
    if engine.global_rank == 0:
        result = {"first": losses[0], "last": losses[-1], "world_size": engine.world_size}
        Path(os.environ.get("HEADNODE_RESULT", "result.json")).write_text(json.dumps(result))
    deepspeed.comm.destroy_process_group()


if __name__ == "__main__":
    main()
