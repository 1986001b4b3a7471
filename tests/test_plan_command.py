"""``lookahead-rl plan`` through its real entry point, and the trials behind it."""

import json
from xml.etree import ElementTree as ET

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookahead_rl.agents import make_agent
from lookahead_rl.agents.local.agent import LocalPlanningAgent
from lookahead_rl.agents.local.planner import LocalPlanner, Plan, PlanningBudgetExceeded, RepeatedContradiction
from lookahead_rl.agents.local.tensorplan import NoHypothesisError
from lookahead_rl.evaluation import audit
from lookahead_rl.evaluation.plots import QueryCurve, query_curves
from lookahead_rl.experiments.trials import Ending, Trial, uniform_play
from lookahead_rl.models import ModelError
from lookahead_rl.scripts.arguments import make_env, parse_pairs
from lookahead_rl.scripts.cli import main
from lookahead_rl.wrappers import BudgetExceeded

NEEDLE = ("--env-kwargs", "n_actions=3", "horizon=6", "dim=6", "mdp_seed=1")
NEEDED = "Planners need an environment of this package whose states have features, such as NeedleMDP-v0; games cannot"
FIELDS = {
    "agent",
    "env_id",
    "seed",
    "budget",
    "queries",
    "execution_queries",
    "value",
    "optimal_value",
    "suboptimality",
    "score",
    "seconds",
    "status",
    "message",
}


def planned(tmp_path, *options):
    """The rows that the command writes."""
    main(["plan", *options, "--json", str(tmp_path / "rows.json")])
    return json.loads((tmp_path / "rows.json").read_text())


def refused(capsys, *options):
    """The one line with which the command ends."""
    with pytest.raises(SystemExit) as stop:
        main(["plan", *options])
    shown = capsys.readouterr()
    assert stop.value.code == 2
    assert not shown.out
    assert shown.err.count("\n") == 1
    return shown.err


# rows


def test_each_planner_budget_and_seed_gives_one_flat_row(tmp_path):
    options = ("--agents", "UCT-v0", "LSVI-v0", "--budgets", "200", "50", "100", "--seeds", "0", "1")
    rows = planned(tmp_path, *NEEDLE, *options)
    runs = [(row["agent"], row["budget"], row["seed"]) for row in rows[1:]]
    assert runs == [(agent, b, seed) for agent in ("UCT-v0", "LSVI-v0") for b in (50, 100, 200) for seed in (0, 1)]
    assert (rows[0]["agent"], rows[0]["queries"]) == ("Random-v0", 0)
    for row in rows:
        assert row.keys() >= FIELDS
        assert not any(isinstance(cell, list | dict) for cell in row.values())
        assert row["queries"] <= row["budget"]
        assert row["env_id"] == "NeedleMDP-v0"


def test_values_and_queries_are_those_of_the_agent(tmp_path):
    size = ("n_states=30", "horizon=5", "dim=4", "mdp_seed=2")
    options = ("--env-id", "RealizableMDP-v0", "--env-kwargs", *size, "--budgets", "240", "--seeds", "3")
    uniform, lsvi, uct = planned(tmp_path, *options, "--agents", "LSVI-v0", "UCT-v0")
    env = gym.make("RealizableMDP-v0", n_states=30, horizon=5, dim=4, mdp_seed=2)
    for row, name in ((lsvi, "LSVI-v0"), (uct, "UCT-v0")):
        agent = make_agent(name, env, budget=240, seed=3).learn(0)
        result = audit(agent, env, reachable=True)  # the world is deterministic: the states of one episode
        assert row["value"] == result.value
        assert row["suboptimality"] == result.regret
        assert row["execution_queries"] == agent.execution_queries
        assert row["queries"] == (agent.planning_queries or agent.execution_queries)
        assert row["optimal_value"] == env.unwrapped.solution().value[0, 0]
        assert row["score"] == pytest.approx((row["value"] - uniform["value"]) / uniform["suboptimality"])
    assert uniform["score"] == 0.0


def test_the_default_grid_doubles_up_to_the_budget(tmp_path):
    rows = planned(tmp_path, *NEEDLE, "--agents", "LSVI-v0", "--budget", "100")
    assert [row["budget"] for row in rows[1:]] == [1, 3, 6, 12, 25, 50, 100]


def test_a_budget_too_small_for_any_plan_is_told_and_has_no_value(tmp_path):
    small, enough = planned(tmp_path, *NEEDLE, "--agents", "RolloutPlanner-v0", "--budgets", "17", "18")[1:]
    assert small["status"] == Ending.TOO_SMALL.value  # 6 decisions, 3 actions
    assert small["value"] is small["suboptimality"] is small["score"] is None
    assert enough["status"] == Ending.PLANNED.value
    assert enough["value"] is not None


class First(Plan):
    """Plays action 0."""

    def action(self, access, visit):
        return 0

    def arrays(self):
        return {}


class Spender(LocalPlanner):
    """Asks until the budget is spent; ``keeps`` a plan or has none."""

    def __init__(self, keeps):
        self.keeps = keeps

    def plan(self, access, start, rng):
        try:
            while True:
                access.query(start.handle, 0)
        except BudgetExceeded as error:
            if self.keeps:
                raise PlanningBudgetExceeded(error, First()) from None
            raise

    def restore(self, arrays):
        return First()


class SpendingAgent(LocalPlanningAgent):
    def knobs(self):
        return {}


def spent(monkeypatch, keeps):
    monkeypatch.setattr(Trial, "make", lambda trial, env: SpendingAgent(env, Spender(keeps), budget=trial.budget))
    env = make_env("RealizableMDP-v0", ["n_states=10", "horizon=3", "dim=3"])
    return Trial("any", 7).run(env, uniform_play(env)[0]), env


def test_where_the_budget_runs_out_the_best_plan_so_far_is_valued(monkeypatch):
    result, env = spent(monkeypatch, keeps=True)
    assert (result.status, result.queries, result.execution_queries) == (Ending.RAN_OUT, 7, 0)
    assert result.value == audit(np.zeros(10, dtype=int), env).value


def test_where_there_is_no_plan_the_queries_are_told_all_the_same(monkeypatch):
    result, _ = spent(monkeypatch, keeps=False)
    assert (result.status, result.queries, result.value) == (Ending.TOO_SMALL, 7, None)


class Quitter(LocalPlanner):
    """Asks once and gives up."""

    def __init__(self, error):
        self.error = error

    def plan(self, access, start, rng):
        access.query(start.handle, 0)
        raise self.error

    def restore(self, arrays):
        return First()


@pytest.mark.parametrize("kind", [NoHypothesisError, RepeatedContradiction])
def test_a_planner_that_gives_up_has_a_row_with_what_it_said(kind, monkeypatch):
    quitter = Quitter(kind("the data contradict all of them"))
    monkeypatch.setattr(Trial, "make", lambda trial, env: SpendingAgent(env, quitter, budget=trial.budget))
    env = make_env("RealizableMDP-v0", ["n_states=10", "horizon=3", "dim=3"])
    result = Trial("any", 7).run(env, uniform_play(env)[0])
    assert (result.status, result.queries, result.value) == (Ending.NO_HYPOTHESIS, 1, None)
    assert result.message == "the data contradict all of them"
    assert result.oracle == "samples"


def test_other_errors_end_the_trial(monkeypatch):
    quitter = Quitter(ModelError("r[3] is 7; pass rewards in [0, 1]"))
    monkeypatch.setattr(Trial, "make", lambda trial, env: SpendingAgent(env, quitter, budget=trial.budget))
    env = make_env("RealizableMDP-v0", ["n_states=10", "horizon=3", "dim=3"])
    with pytest.raises(ModelError, match=r"r\[3\] is 7"):
        Trial("any", 7).run(env, uniform_play(env)[0])


def test_the_refusal_of_one_planner_leaves_the_others_their_rows(tmp_path, capsys):
    options = ("--agents", "TensorPlan-v0", "UCT-v0", "--budgets", "200", "--agent-kwargs", "radius=0.01")
    _, refusing, searching = planned(tmp_path, *NEEDLE, *options)
    assert refusing["status"] == Ending.NO_HYPOTHESIS.value
    assert refusing["message"].startswith("radius is 0.01, too small: ")
    assert refusing["value"] is None
    assert refusing["queries"] > 0
    assert (searching["status"], searching["message"]) == (Ending.PLANNED.value, None)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"TensorPlan-v0 has no hypothesis: {refusing['message']}" in shown


def test_theory_may_have_budgets_that_no_search_could_spend(tmp_path):
    options = ("--agents", "TensorPlan-v0", "--agent-kwargs", "mode=theory", "radius=12", "--budgets", str(10**18))
    assert planned(tmp_path, *NEEDLE, *options)[1]["value"] == pytest.approx(1.0)


def test_tensorplan_finds_the_needle_where_the_others_do_not(tmp_path):
    size = ("n_actions=4", "horizon=30", "dim=20", "mdp_seed=3")
    agents = ("--agents", "TensorPlan-v0", "UCT-v0", "LSVI-v0")
    rows = planned(tmp_path, "--env-kwargs", *size, "--budgets", "600", *agents)
    found = {row["agent"]: row["value"] for row in rows}
    assert found["TensorPlan-v0"] == pytest.approx(1.0)
    assert found["UCT-v0"] == found["LSVI-v0"] == 0.0


def test_options_reach_the_planners_that_take_them(tmp_path):
    options = ("--env-id", "RealizableMDP-v0", "--env-kwargs", "stochastic=true", "n_states=10", "horizon=3", "dim=3")
    agents = ("--agents", "LSVI-v0", "UCT-v0", "--budgets", "200")
    plain = planned(tmp_path, *options, *agents)
    ridge = planned(tmp_path, *options, *agents, "--agent-kwargs", "ridge=50.0")
    noisy = planned(tmp_path, *options, *agents, "--bernoulli-rewards")
    timeless = [[row | {"seconds": 0} for row in rows] for rows in (plain, ridge, noisy)]
    assert timeless[0][1] != timeless[1][1]
    assert timeless[0][2] == timeless[1][2]
    assert timeless[0][1] != timeless[2][1]
    assert plain[1]["optimal_value"] == noisy[1]["optimal_value"]


def test_a_trial_does_not_see_what_ran_before_it():
    env = make_env("RealizableMDP-v0", ["n_states=10", "horizon=3", "dim=3", "stochastic=true"])
    uniform, _ = uniform_play(env)
    first = Trial("UCT-v0", 60, 1).run(env, uniform).row()
    Trial("LSVI-v0", 60, 2).run(env, uniform)
    assert dict(first) | {"seconds": 0} == dict(Trial("UCT-v0", 60, 1).run(env, uniform).row()) | {"seconds": 0}


# pages and plots


def test_the_page_and_the_plot_are_written(tmp_path, capsys):
    files = ("--out", str(tmp_path / "plan.html"), "--plot", str(tmp_path / "plan.svg"))
    planned(tmp_path, *NEEDLE, "--agents", "UCT-v0", "--budget", "100", *files)
    page, plot = (tmp_path / "plan.html").read_text(), (tmp_path / "plan.svg").read_text()
    assert ET.fromstring(plot).tag.endswith("svg")
    assert "exact optimum" in plot
    assert "UCT-v0" in plot
    assert "n_actions=3 horizon=6 dim=6 mdp_seed=1" in page
    assert "<svg" in page
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80


def test_plots_leave_out_what_has_no_value_or_no_queries():
    def curve(queries, values):
        return query_curves({"one": QueryCurve(np.array([queries]), np.array([values]))}, optimal=1.0, uniform=0.0)

    both = curve([10.0, 100.0], [0.2, 0.9])
    assert curve([5.0, 10.0, 100.0], [np.nan, 0.2, 0.9]) == both
    assert curve([0.0, 10.0, 100.0], [0.1, 0.2, 0.9]) == both
    assert curve([10.0, 100.0], [0.2, 0.8]) != both
    assert ET.fromstring(curve([5.0], [np.nan])).tag.endswith("svg")
    with pytest.raises(ValueError, match=r"\(2,\) and \(2,\); expected \(n_seeds, n_budgets\)"):
        QueryCurve(np.ones(2), np.ones(2))


# refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--env-kwargs", "depth=3"), "unexpected keyword argument 'depth'"),
        (("--env-kwargs", "horizon"), "--env-kwargs holds 'horizon'; write key=value, such as horizon=100"),
        (("--env-kwargs", "horizon=2.5"), "horizon is 2.5; pass an integer >= 1"),
        (("--env-id", "Needle-v0"), "registered as 'Needle-v0'; near are: NeedleMDP-v0, "),
        (("--env-id", "FrozenLake-v1"), f"FrozenLake-v1 is not of this package. {NEEDED}"),
        (("--env-id", "CartPole-v1"), f"CartPole-v1 is not of this package. {NEEDED}"),
        (("--env-id", "rps_v2"), f"no environment is registered as 'rps_v2'; near are: classic/rps-v2. {NEEDED}"),
        (("--env-id", "lookahead_rl/RandomMarkovGame-v0"), NEEDED),
        (("--env-id", "RandomMDP-v0"), "no state features"),
        (("--agents", "PPO"), "PPO is no local planner; those that are: LSVI-v0, "),
        (("--agents", "UCT-v0", "NashPlanner-v0"), "NashPlanner-v0 is no local planner; those that are: LSVI-v0, "),
        (("--agents", "UTC-v0"), "did you mean UCT-v0"),
        (("--budget", "0"), "budget is 0; it must be at least 1"),
        (("--budget", "19"), "budget is 19, but UCT queries at every decision"),
        (("--budget", str(10**21)), "more than UCT-v0 could query; pass at most 1,000,000,000"),
        (("--budgets", "100", str(10**9 + 1)), "budget is 1,000,000,001, more than UCT-v0 could query"),
        (
            ("--agents", "TensorPlan-v0", "--agent-kwargs", "mode=theory", "--budgets", str(10**18 + 1)),
            "more than TensorPlan-v0 could query; pass at most 1,000,000,000,000,000,000",
        ),
        (
            ("--agents", "TensorPlan-v0", "UCT-v0", "--agent-kwargs", "mode=theory", "--budgets", str(10**12)),
            "budget is 1,000,000,000,000, more than UCT-v0 could query",
        ),
        (("--agent-kwargs", "budget=5"), "--agent-kwargs holds budget, which has an option of its own: use --budgets"),
        (("--agent-kwargs", "seed=5"), "use --seeds"),
        (("--agent-kwargs", "env=5"), "use --env-id"),
        (("--agent-kwargs", "samples=5"), "use --samples"),
        (("--agent-kwargs", "bernoulli_rewards=true"), "use --bernoulli-rewards"),
        (("--seeds", "-1"), "seeds is -1; it must be at least 0"),
        (("--seeds",), "give at least one of each"),
        (("--samples", "3"), "none of these planners takes samples"),
        (("--json", "no/such/folder.json"), "no/such/folder.json"),
        (("--out", "."), ". is a folder; name a file in it"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_status_2(options, said, capsys):
    agents = () if "--agents" in options else ("--agents", "UCT-v0")
    assert said in refused(capsys, *agents, *options)


def test_a_plot_is_svg_and_nothing_else(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--plot", str(tmp_path / "plot.png")])
    assert ended.value.code == 2
    assert "name a file ending in .svg" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_files_written_and_the_number_of_seeds_are_told(tmp_path, capsys):
    path = tmp_path / "rows.json"
    options = ["--env-kwargs", "n_actions=2", "horizon=3", "dim=4", "--agents", "LSVI-v0", "--seeds", "0", "1"]
    main(["plan", *options, "--budgets", "2", "20", "--json", str(path)])
    shown = capsys.readouterr().out
    assert "means over 2 seeds" in shown
    assert "Wrote" in shown
    messages = {row["budget"]: row["message"] for row in json.loads(path.read_text())}
    assert "the budget is 2 queries" in messages[2]
    assert messages[20] is None


def test_a_missing_extra_is_named_before_anything_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lookahead_rl.scripts.plan.find_spec", lambda name: None)
    said = refused(capsys, "--agents", "UCT-v0", "--plot", str(tmp_path / "plan.svg"))
    assert 'pip install "lookahead-rl[report]"' in said


# key=value


@given(st.one_of(st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.none()))
def test_numbers_and_truth_values_keep_their_type(value):
    (parsed,) = parse_pairs("--env-kwargs", [f"key={value}"]).values()
    assert (parsed, type(parsed)) == (value, type(value))


def test_lists_and_mappings_are_json():
    assert parse_pairs("--agent-kwargs", ['a=[1, 2.5, "x"]', 'b={"c": null}']) == {"a": [1, 2.5, "x"], "b": {"c": None}}
    with pytest.raises(ModelError, match=r"--agent-kwargs holds '\[1, 2', which is no JSON"):
        parse_pairs("--agent-kwargs", ["a=[1, 2"])


@given(st.text(st.characters(codec="ascii", categories=["L", "P"]), min_size=6))
def test_other_values_are_text_and_are_never_run(text):
    if text.lower() not in ("true", "false", "none") and text[0] not in "[{":
        assert parse_pairs("--env-kwargs", [f"key={text}"]) == {"key": text}


@pytest.mark.parametrize(
    ("pairs", "said"),
    [(["=3"], "holds '=3'"), (["a b=3"], "holds 'a b=3'"), (["a=1", "a=2"], "gives a twice")],
)
def test_pairs_without_one_key_are_refused(pairs, said):
    with pytest.raises(ModelError, match=said):
        parse_pairs("--env-kwargs", pairs)
