"""Models and answers print themselves in a line or two, whatever their size."""

import numpy as np
import pytest

from lookahead_rl.models.generators import garnet_game, garnet_mdp, random_linear_game, random_linear_mdp
from lookahead_rl.models.summaries import summary
from lookahead_rl.solvers import nash_gap, solve, solve_game

MODELS = {
    "mdp": garnet_mdp(500, 3, 4, 0),
    "game": garnet_game(300, 3, 3, 4, 0, sparse=True),
    "linear mdp": random_linear_mdp(10**9, 4, 6, 5, 0),
    "linear game": random_linear_game(10**9, 3, 3, 6, 0),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_model_and_its_solution_are_described_in_few_words(model: object) -> None:
    solution = solve(model, 1e-6)
    assert len(repr(model)) < 700
    assert len(repr(solution)) < 900
    assert type(model).__name__ in repr(model)
    assert "gap=" in repr(solution)
    assert "CONVERGED" in repr(solution)


def test_certificates_show_their_gap_first() -> None:
    game = MODELS["game"]
    solution = solve_game(game, 1e-6)
    assert repr(solution.certificate).startswith(
        f"Certificate(gap={solution.certificate.gap:.6g}, lower=<float64 (300,)"
    )
    assert repr(nash_gap(game, *solution.policy)).startswith("NashGap(largest=")


def test_arrays_are_shown_by_shape_and_range_unless_they_are_small() -> None:
    assert summary(np.arange(3.0)) == "[0., 1., 2.]"
    assert summary(np.arange(10)) == "<int64 (10,), 0 to 9>"
    assert summary(np.zeros((0, 3))) == "<float64 (0, 3)>"
    assert summary(np.zeros((2, 3), dtype=np.bool_)) == "<bool (2, 3)>"
    assert summary((1.0,)) == "(1,)"
    assert summary(tuple(range(9))) == "<9 entries, the last 8>"
    assert summary(0.1 + 0.2) == "0.3"
    assert summary(MODELS["game"].P) == "<CSR (2700, 300), 10,800 entries>"
