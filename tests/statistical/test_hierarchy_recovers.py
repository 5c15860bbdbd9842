"""Wells made by the mechanism: its parameters come back, inside intervals that are as wide as they say."""

import jax
import numpy as np
import pytest

from ssagrad import hierarchy
from ssagrad.hierarchy import receiver, study, synthetic

SYSTEM = receiver.constant_expression()


@pytest.fixture(scope="module")
def recovered():
    """48 wells, 30 times: truth, posterior of what is shared, evaluation of the wells."""
    made = synthetic.double_receivers(jax.random.key(11), SYSTEM, wells_per_device=8, num_times=30)
    weights = SYSTEM.initial_weights(jax.random.key(12))
    blank = hierarchy.SharedPosterior(jax.random.key(13), SYSTEM.levels, SYSTEM.masks, 4, 30)
    mode = hierarchy.joint_mode(SYSTEM, weights, blank, made.experiment, steps=60)
    found = hierarchy.evaluate(jax.random.key(14), SYSTEM, mode.posterior, weights, made.experiment, draws=100, steps=15, shared_draws=4)
    return made, mode.posterior, found


def misfit(posterior, truth):
    """|T⁻¹ (x* − truth)|², which is χ² with as many degrees as there are shared numbers."""
    off = np.linalg.solve(np.asarray(posterior.factor(), float), np.asarray(posterior.mean, float) - truth)
    return float((off**2).sum())


def test_what_is_shared_comes_back_within_its_covariance(recovered):
    """All 32 shared numbers at once: their χ² is below mean + 4 standard deviations; the truth with another YFP yield is rejected."""
    _, posterior, _ = recovered
    truth = synthetic.shared_truth(SYSTEM)
    limit = len(truth) + 4 * np.sqrt(2 * len(truth))
    assert misfit(posterior, truth) < limit
    wrong = truth + 0.1 * np.eye(len(truth))[SYSTEM.levels.index("aYFP")]
    assert misfit(posterior, wrong) > limit


def test_local_latents_scatter_as_their_posteriors_say(recovered):
    """Mean square of 4 × 48 standardised errors is 1, within 4 standard errors; and refined posteriors carry most of their draws."""
    made, _, found = recovered
    z = (found.latents[:, -4:].T - made.truth[-4:]) / found.latent_sd[:, -4:].T
    squares = (z**2).ravel()
    assert abs(squares.mean() - 1) < 4 * np.sqrt(2 / len(squares))
    assert np.median(found.effective) > 30


def test_binding_sites_come_back_in_order(recovered):
    """Strengths relative to one another, which need no prior: each within 4 standard deviations, and in the true order."""
    strengths = study.site_strengths([recovered[1]], SYSTEM)
    for parameter, sites in synthetic.SITES.items():
        expected = np.log2(sites) - np.log2(sites).mean()
        means, sds = (np.array([site[i][0] for site in strengths[parameter].values()]) for i in (0, 1))
        assert (np.abs(means - expected) < 4 * sds).all()
    assert study.orders(strengths) == {"aR": {"33 < Pcat < 100"}, "aS": {"175 < Pcat < 32 < 34"}}
