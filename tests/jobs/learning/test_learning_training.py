"""Training: that it learns, does the same twice, stops early, and goes on as if it had not been stopped."""

import itertools

import numpy as np
import pytest
import torch
from landcover_jobs.configuration.learning import TransformerSettings
from landcover_jobs.learning.recipe import Recipe
from landcover_jobs.learning.training import Interrupted, class_weights, drop_periods, fit
from landcover_jobs.learning.transformer import days_of_periods, probabilities

SETTINGS = TransformerSettings(width=16, layers=1, heads=2, learning_rate=5e-3)


def recipe(**changes):
    """Return a quick one."""
    return Recipe(**({"settings": SETTINGS, "epochs": 8, "seed": 3, "batch": 64} | changes))


def trained(samples, *, classes=3, changes=None, **options):
    """Train on made-up pixels."""
    days = days_of_periods(samples.features.shape[1])
    return fit(samples, classes=classes, days=days, recipe=recipe(**(changes or {})), **options)


def same(first, second):
    """Tell whether two models have the same weights, bit by bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def right(model, samples):
    """Return the share of pixels that a model knows."""
    return (probabilities(model, samples.features, samples.hidden).argmax(axis=1) == samples.labels).mean()


def test_it_learns_and_the_same_seed_gives_the_same_weights(pixels):
    """On pixels that it has not seen, too; another seed gives other weights."""
    first, second = (trained(pixels(), changes={"epochs": 20}) for _ in range(2))
    assert right(first, pixels(seed=6)) > 0.8
    assert same(first, second)
    assert not same(first, trained(pixels(), changes={"epochs": 20, "seed": 4}))


def test_what_others_drew_at_random_before_changes_nothing(pixels):
    """The seed alone counts."""
    first = trained(pixels())
    torch.rand(7)
    np.random.rand(7)  # noqa: NPY002 - the global generator is what is disturbed
    assert same(first, trained(pixels()))


@pytest.mark.parametrize("asked", [1, 3, 5, 6, 17])
def test_stopped_at_any_batch_it_goes_on_to_the_same_weights(tmp_path, pixels, asked):
    """In the middle of an epoch and between two (an epoch has five batches)."""
    whole = trained(pixels())
    questions = itertools.count(1)
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        trained(pixels(), checkpoint=checkpoint, interrupted=lambda: next(questions) >= asked)
    torch.manual_seed(99)
    assert same(trained(pixels(), checkpoint=checkpoint), whole)


def test_the_losses_told_are_those_of_an_unbroken_training(tmp_path, pixels):
    """Each epoch at least once, with the same figures."""
    told, again = {}, {}
    trained(pixels(), after_epoch=lambda progress: told.update({progress.epoch: progress.loss}))
    questions = itertools.count(1)

    def tell(progress):
        again[progress.epoch] = progress.loss

    with pytest.raises(Interrupted):
        trained(
            pixels(),
            checkpoint=tmp_path / "c.pt",
            after_epoch=tell,
            interrupted=lambda: next(questions) >= 13,
        )
    assert 0 < len(again) < 8
    trained(pixels(), checkpoint=tmp_path / "c.pt", after_epoch=tell)
    assert again == told
    assert sorted(told) == list(range(1, 9))
    assert told[8] < told[1]


def test_a_finished_training_is_not_done_again(tmp_path, pixels):
    """Its weights are in the checkpoint."""
    first = trained(pixels(), checkpoint=tmp_path / "c.pt")
    epochs = []
    second = trained(pixels(), checkpoint=tmp_path / "c.pt", after_epoch=lambda now: epochs.append(now.epoch))
    assert epochs == [8]
    assert same(first, second)


@pytest.mark.parametrize("spoil", ["truncated", "empty", "other"])
def test_a_checkpoint_of_no_use_is_told_of_and_replaced(tmp_path, pixels, capsys, spoil):
    """A truncated one, and that of another training: the training begins anew."""
    checkpoint = tmp_path / "c.pt"
    trained(pixels(), checkpoint=checkpoint, changes={"seed": 8} if spoil == "other" else {})
    if spoil != "other":
        checkpoint.write_bytes(checkpoint.read_bytes()[: 500 if spoil == "truncated" else 0])
    again = trained(pixels(), checkpoint=checkpoint)
    assert "begins anew" in capsys.readouterr().out
    assert same(again, trained(pixels()))


def test_it_stops_early_with_the_best_weights(tmp_path, pixels):
    """Labels without meaning can't be learnt: the inner fold does not improve for long."""
    noise = pixels()._replace(labels=np.random.default_rng(0).permutation(pixels().labels))
    checkpoint, scores, weights = tmp_path / "c.pt", {}, {}

    def keep(progress):
        scores[progress.epoch] = progress.macro_f1
        weights[progress.epoch] = torch.load(checkpoint, weights_only=True)["model"]

    patient = {"epochs": 60, "patience_epochs": 3}
    model = trained(noise, inner=pixels(seed=9), changes=patient, checkpoint=checkpoint, after_epoch=keep)
    best = max(scores, key=lambda epoch: (scores[epoch], -epoch))
    assert len(scores) == best + 3 < 60
    assert all(torch.equal(weights[best][name], each) for name, each in model.state_dict().items())
    # Stopped after the best epoch, it knows of it when it goes on.
    checkpoint.unlink()
    questions = itertools.count(1)
    with pytest.raises(Interrupted):
        trained(
            noise,
            inner=pixels(seed=9),
            changes=patient,
            checkpoint=checkpoint,
            interrupted=lambda: next(questions) >= 6 * (best + 1),
        )
    assert same(trained(noise, inner=pixels(seed=9), changes=patient, checkpoint=checkpoint), model)


def test_a_class_that_no_pixel_has_is_never_said(pixels):
    """Nor does it change the weight of the others."""
    samples = pixels()
    two = samples.only(samples.labels != 1)
    model = trained(two, classes=4, changes={"epochs": 15})
    said = probabilities(model, samples.features, samples.hidden).argmax(axis=1)
    assert set(said.tolist()) == {0, 2}
    weights = class_weights(torch.from_numpy(two.labels), 4)
    assert weights[[1, 3]].tolist() == [0, 0]
    torch.testing.assert_close(weights[[0, 2]], class_weights(torch.from_numpy(two.labels // 2), 2))


def test_rare_classes_weigh_more():
    """By the square root of their rarity: a class four times as rare weighs twice as much."""
    weights = class_weights(torch.tensor([0] * 40 + [1] * 10), 2)
    torch.testing.assert_close(weights[1], 2 * weights[0])


def test_no_pixel_loses_all_its_periods():
    """Dropping hides more of them, never the last."""
    hidden = torch.ones(200, 12, dtype=torch.bool)
    hidden[:, 5] = False
    dropped = drop_periods(hidden, 0.9, torch.Generator().manual_seed(1))
    assert not dropped.all(dim=1).any()
    assert dropped.float().mean() >= hidden.float().mean()
