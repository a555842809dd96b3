"""Train a small network by PyTorch's DistributedDataParallel. Started alone, it trains the same in one process."""

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

GLOBAL_BATCH = 64
STEPS = 30


def make_data():
    """Return 512 points with eight features, and a smooth function of them, the same everywhere."""
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(512, 8, generator=generator)
    return points, points.sin().sum(dim=1, keepdim=True)


def train(rank, world_size):
    """Return the loss of each step over the global batch, of which each process has its share."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    if world_size > 1:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    points, values = make_data()
    order = torch.Generator().manual_seed(3)
    losses = []
    for _ in range(STEPS):
        batch = torch.randint(len(points), (GLOBAL_BATCH,), generator=order)[rank::world_size]
        loss = nn.functional.mse_loss(model(points[batch]), values[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        mean = loss.detach() / world_size
        if world_size > 1:
            dist.all_reduce(mean)
        losses.append(mean.item())
    return losses


def main():
    """Train, and let the first process write what came of it."""
    rank, world_size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    nodes = [os.environ["SLURMD_NODENAME"]]
    if world_size > 1:
        dist.init_process_group("gloo")
        nodes = [None] * world_size
        dist.all_gather_object(nodes, os.environ["SLURMD_NODENAME"])
    losses = train(rank, world_size)
    if rank == 0:
        result = {"losses": losses, "nodes": nodes}
        Path(os.environ.get("HEADNODE_RESULT", "result.json")).write_text(json.dumps(result))
    if world_size > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
