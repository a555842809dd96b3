"""Train a small network by TensorFlow's MultiWorkerMirroredStrategy, whose workers Slurm starts."""

import json
import os
from pathlib import Path

import tensorflow as tf

GLOBAL_BATCH = 64
STEPS = 20


def make_strategy():
    """Return the strategy over the tasks of the job's step."""
    port = int(os.environ["TF_PORT_BASE"])
    if tf.config.list_physical_devices("GPU"):
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(port_base=port)
    else:
        # Without GPUs the resolver divides by their number: each task pretends to one, which nothing uses.
        tasks = int(os.environ["SLURM_NTASKS"])
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=port, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def main():
    """Train, and let the first worker write the loss at the start and at the end."""
    strategy = make_strategy()
    workers = strategy.num_replicas_in_sync
    with strategy.scope():
        tf.keras.utils.set_random_seed(2)
        model = tf.keras.Sequential([tf.keras.Input((8,)), tf.keras.layers.Dense(32, "tanh"), tf.keras.layers.Dense(1)])
        optimizer = tf.keras.optimizers.Adam(0.01)
        optimizer.build(model.trainable_variables)

    @tf.function
    def step(points):
        def on_worker(points):
            with tf.GradientTape() as tape:
                values = tf.reduce_sum(tf.sin(points), axis=1, keepdims=True)
                loss = tf.reduce_sum((model(points, training=True) - values) ** 2) / GLOBAL_BATCH
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss

        return strategy.reduce("sum", strategy.run(on_worker, (points,)), axis=None)

    task = strategy.cluster_resolver.task_id
    generator = tf.random.Generator.from_seed(task)
    losses = [float(step(generator.normal((GLOBAL_BATCH // workers, 8)))) for _ in range(STEPS)]
    if task == 0:
        result = {"first": losses[0], "last": losses[-1], "workers": workers}
        Path(os.environ.get("HEADNODE_RESULT", "result.json")).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
