"""Search with Ray Tune by the scheduler that TUNE_SCHEDULER names: ASHA, BOHB or population based training."""

import json
import os
import tempfile
from pathlib import Path

import ray
from ray import tune
from ray.tune import Checkpoint, RunConfig, TuneConfig, Tuner
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandForBOHB, PopulationBasedTraining
from ray.tune.search.bohb import TuneBOHB

STEPS = 4
SPACE = {"rate": tune.uniform(0.0, 1.0)}


def train(config):
    """Report a loss that falls with each step, and least for a rate of 0.3; go on from a checkpoint where one is."""
    step, checkpoint = 0, tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            step = int((Path(folder) / "step").read_text())
    while step < STEPS:
        step += 1
        loss = (config["rate"] - 0.3) ** 2 + 1 / step
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "step").write_text(str(step))
            tune.report({"loss": loss}, checkpoint=Checkpoint.from_directory(folder))


def search():
    """Return the scheduler and, for BOHB, the searcher that belongs to it."""
    match os.environ["TUNE_SCHEDULER"]:
        case "asha":
            return TuneConfig(scheduler=AsyncHyperBandScheduler(max_t=STEPS, grace_period=1, reduction_factor=2))
        case "bohb":
            scheduler = HyperBandForBOHB(max_t=STEPS, reduction_factor=2, stop_last_trials=False)
            return TuneConfig(scheduler=scheduler, search_alg=TuneBOHB(seed=1))
        case "pbt":
            mutations = {"rate": tune.uniform(0.0, 1.0)}
            return TuneConfig(
                scheduler=PopulationBasedTraining(perturbation_interval=2, hyperparam_mutations=mutations)
            )


def main():
    """Search, and write what came of it."""
    config = search()
    config.metric, config.mode, config.num_samples, config.reuse_actors = "loss", "min", 4, True
    run = RunConfig(name="search", storage_path=os.environ["TUNE_STORAGE"], verbose=1)
    results = Tuner(train, param_space=SPACE, tune_config=config, run_config=run).fit()
    result = {
        "best": results.get_best_result().metrics["loss"],
        "trials": len(results),
        "errors": results.num_errors,
        "steps": [each.metrics["training_iteration"] for each in results],
        "nodes": sum(node["Alive"] for node in ray.nodes()),
    }
    Path(os.environ.get("HEADNODE_RESULT", "result.json")).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
