"""Uncertainty against scikit-learn and numpy, the network that predicts errors, and the classical rivals."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import colorlib
from colorlib import classical
from colorlib.config import seed_everything
from colorlib.data import make_loaders
from colorlib.lessons import experiments, rivals, uncertainty
from colorlib.lessons.experiments import registry
from colorlib.metrics import ab_mae, predict


def test_auc_is_that_of_scikit_learn_also_with_ties():
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(5, 8, 8, generator=generator).round(decimals=1)
    mask = torch.rand(5, 8, 8, generator=generator) < 0.3
    expected = roc_auc_score(mask.flatten().numpy(), score.flatten().numpy())
    assert uncertainty.auc(score, mask) == pytest.approx(expected)
    assert uncertainty.auc(mask.float(), mask) == 1 and uncertainty.auc(torch.ones(5, 8, 8), mask) == 0.5
    assert np.isnan(uncertainty.auc(score, torch.ones(5, 8, 8, dtype=torch.bool)))


def test_spread_is_the_root_of_the_mean_variance_in_lab_units():
    ab = torch.rand(4, 3, 2, 5, 6, generator=torch.Generator().manual_seed(1)) - 0.5
    expected = np.sqrt((110 * ab.numpy()).var(axis=0).mean(axis=1))
    assert np.allclose(uncertainty.spread(ab).numpy(), expected, atol=1e-4)
    assert uncertainty.spread(ab[:1]).max() == 0


def test_the_second_network_learns_where_the_first_is_wrong():
    seed_everything(0)
    loaders = make_loaders("scenes", 32, n_train=160, n_test=20)

    def painter(L):
        """Predict gray: its error is the distance of the truth from gray, large in the blue sky and the grass."""
        return torch.zeros(len(L), 2, *L.shape[-2:])

    judge = uncertainty.fit_errors(painter, loaders, epochs=4)
    _, truth = loaders.test.first(20)
    guess, error = predict(judge, loaders.test), truth.abs()
    mean = loaders.train.first(160)[1].abs().mean()
    assert (guess - error).abs().mean() < 0.8 * (mean - error).abs().mean()


def test_classical_rivals_are_the_functions_of_chapter_02():
    loaders = make_loaders("scenes", 32, n_train=6, n_test=3)
    colored = rivals.classical_rivals(loaders.test, loaders.train, n_dots=2)
    L, ab = loaders.test.first(3)
    assert list(colored) == ["tint", "Welsh", "2 dots"]
    assert all(known.shape == ab.shape for known in colored.values())
    lab = colorlib.join_lab(L, torch.zeros_like(ab))
    reference = colorlib.join_lab(*loaders.train.first(6))
    stops = classical.stops_from(torch.cat(list(reference), dim=1))
    tinted = colorlib.split_lab(torch.stack([classical.tint(one, stops) for one in lab]))[1]
    assert torch.allclose(colored["tint"], tinted, atol=1e-5)
    welsh = colorlib.split_lab(classical.welsh(lab[1], reference[1])[None])[1][0]
    assert torch.allclose(colored["Welsh"][1], welsh, atol=1e-5)
    more = rivals.classical_rivals(loaders.test, loaders.train, n_dots=6)["6 dots"]
    assert ab_mae(more, ab) < ab_mae(colored["2 dots"], ab) < ab_mae(torch.zeros_like(ab), ab)


def test_a_record_with_predictions_of_another_run_is_refused(tmp_path, monkeypatch):
    record, ab = experiments.stored("toggles")
    monkeypatch.setattr(registry, "RUNS", tmp_path)
    registry.store("toggles", record, ab)
    assert experiments.stored("toggles")[0] == record
    (tmp_path / "kept.json").write_bytes((tmp_path / "toggles.json").read_bytes())
    name = next(iter(ab))
    registry.store("toggles", record, ab | {name: ab[name] + 1})
    (tmp_path / "toggles.json").write_bytes((tmp_path / "kept.json").read_bytes())
    with pytest.raises(ValueError, match="not from the same run"):
        experiments.stored("toggles")
