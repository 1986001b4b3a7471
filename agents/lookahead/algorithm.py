"""K-sample lookahead with networks.

Policy improvement by lookahead replaces pi(. | s) by the law of the best of K draws from it, judged by Q. Here Q is
fitted, the improved law is distilled into the policy's network, and it begins again. One iteration:

1. *collect*: n_steps in each environment with the policy, a share of the actions mutated (:mod:`.actors`); the raw
   transitions are kept, and where VecNormalize normalises, it does so whenever they are used;
2. *evaluate*: fit V, then the advantages A(s, a), an ensemble, to one-step or lambda targets made with that V
   (:mod:`.targets`);
3. *distil*: in states of what the advantages were fitted to draw candidates from the policy, a share of them mutated,
   weigh them by the lookahead operator (:mod:`.weights`) according to their mean advantage, and raise the likelihood of
   actions drawn by weight. Where all actions can be listed the exact law is fitted instead.

Exploration is thus no business of the policy, which may become as sure of itself as the operator makes it: what is
tried is told by the mutations, and A is fitted to whatever was tried.

The operator sees only how A ranks the actions of a state, so neither V(s) nor the scale of rewards matters to it.
"""

# stable-baselines3 and torch leave many of their types open, which the strict mode would report at each use.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

import copy
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast, final

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm, maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import safe_mean
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from torch import Tensor

from ...models._checks import whole_number
from ..base import KeepsExperience
from ..errors import AgentError
from ..storage import read_archive, write_archive
from ..torch_memory import algorithm_memory, remember_algorithm, require_arrays, to_arrays, to_tensors
from .actors import DigitActor, require_actions
from .experience import Experience, Observations, Transitions, combine, take
from .policy import (
    CnnPolicy,
    LookaheadPolicy,
    MlpPolicy,
    MultiInputPolicy,
    checked_masks,
    require_observations,
    require_policy_kwargs,
)
from .saving import hyperparameter_names, hyperparameters, space_from_plain, space_to_plain
from .targets import Evidence, Target, lambda_advantages, temporal_differences
from .weights import candidate_weights, lookahead_law

STEPS_PER_ITERATION = 2048
VALUE_ROUNDS = 2
LAMBDA_ROLLOUTS = 4
LARGEST_GRADIENT = 1.0
BASELINE_ACTIONS = 4

# Log probability of what a mask forbids, in place of minus infinity times a weight of 0.
LEAST_LOG = -1e4

_NAME = "lookahead_rl.agents.lookahead:KSampleLookahead"

# States whose candidates are held at a time.
_CHUNK = 512


@final
class KSampleLookahead(BaseAlgorithm, KeepsExperience):
    """K-sample lookahead, an algorithm of stable-baselines3.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"``, or a class of policies.
        env: Environment to learn from, or its id; None to load.
        learning_rate: Of all three optimisers; a number or a schedule.
        n_steps: Steps of a rollout in each environment; by default about 2048 over all of them.
        gamma: Discount.
        gae_lambda: Of the lambda-returns V is fitted to with the lambda target, and of that target.
        K: Draws the lookahead stands for, a real number >= 1: the size of a step.
        n_candidates: Actions drawn in a state to be compared: the sampling noise of a step.
        n_labels: Actions fitted in each state, drawn from the candidates by weight.
        exploration: Share of mutated actions in rollouts.
        mutation: Share of mutated actions among the candidates.
        batch_size: Transitions of a gradient step.
        n_critics: Size of the advantage ensemble.
        buffer_size: Transitions kept, in whole rollouts: as many as fit in, and one at least. The lambda target is made
            of the last LAMBDA_ROLLOUTS of them, or of all where fewer are kept.
        evaluate_every: Iterations from one evaluation to the next; None evaluates the first policy only.
        advantage_epochs: Gradient steps of the advantages, in passes over the new rollout.
        value_epochs: The same for V.
        actor_epochs: The same for the policy.
        target: ``"one-step"``, ``"lambda"``, or ``"auto"``: the one that predicts new rollouts better.
        tau: Share of the newest critics in the averages of them that targets and ranks are made with, at every gradient
            step; 1 averages nothing.
        enumerate_up_to: Discrete actions up to this number are all compared, with the exact law.
        stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device: As in stable-baselines3.

    Raises:
        AgentError: A hyperparameter is out of range, the action space has no actor, or the observations cannot be read.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    policy: LookaheadPolicy

    def __init__(
        self,
        policy: str | type[LookaheadPolicy],
        env: GymEnv | str | None,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int | None = None,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        K: float = 4.0,
        n_candidates: int = 16,
        n_labels: int = 4,
        exploration: float = 0.05,
        mutation: float = 0.1,
        batch_size: int = 256,
        n_critics: int = 2,
        buffer_size: int = 200_000,
        evaluate_every: int | None = 1,
        advantage_epochs: int = 24,
        value_epochs: int = 10,
        actor_epochs: int = 4,
        target: Literal["auto", "one-step", "lambda"] = "auto",
        tau: float = 1.0,
        enumerate_up_to: int = 256,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if env is not None:
            env = maybe_make_env(env, verbose)
            # Before stable-baselines3 asserts the same, naming no remedy.
            require_actions(env.action_space)
            require_observations(env.observation_space)
            if isinstance(env.observation_space, spaces.Dict) and policy in ("MlpPolicy", "CnnPolicy"):
                raise AgentError(f"observations are in {env.observation_space}; use MultiInputPolicy, not {policy}")
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs=policy_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            verbose=verbose,
            device=device,
            support_multi_env=True,
            seed=seed,
        )
        self.n_steps = n_steps
        self.gamma, self.gae_lambda = gamma, gae_lambda
        self.K, self.n_candidates, self.n_labels = K, n_candidates, n_labels
        self.exploration, self.mutation, self.enumerate_up_to = exploration, mutation, enumerate_up_to
        self.batch_size, self.n_critics, self.buffer_size = batch_size, n_critics, buffer_size
        self.evaluate_every = evaluate_every
        self.advantage_epochs, self.value_epochs, self.actor_epochs = advantage_epochs, value_epochs, actor_epochs
        self.target: Literal["auto", "one-step", "lambda"] = target
        self.tau = tau
        self._require_hyperparameters()
        if _init_setup_model:
            self._setup_model()

    def _require_hyperparameters(self) -> None:
        at_least_one = ("K", "n_candidates", "n_labels", "batch_size", "n_critics", "buffer_size", "value_epochs")
        optional = [name for name in ("n_steps", "evaluate_every") if vars(self)[name] is not None]
        for name in (*at_least_one, "advantage_epochs", "actor_epochs", "enumerate_up_to", *optional):
            value = vars(self)[name]
            is_finite = _is_number(value) and math.isfinite(value)
            if not (is_finite and value >= 1 and (name == "K" or value == int(value))):
                kind = "real" if name == "K" else "whole"
                raise AgentError(f"{name} is {value!r}; pass a {kind} number of at least 1")
            setattr(self, name, float(value) if name == "K" else int(value))
        for name in ("gamma", "gae_lambda", "exploration", "mutation", "tau"):
            value = vars(self)[name]
            if not (_is_number(value) and 0 <= value <= 1):
                raise AgentError(f"{name} is {value!r}; pass a number between 0 and 1")
            setattr(self, name, float(value))
        if self.tau == 0:
            raise AgentError("tau is 0, so no critic would ever be used; pass a number above 0, to 1")
        if self.target not in ("auto", "one-step", "lambda"):
            raise AgentError(f"target is {self.target!r}; choose 'auto', 'one-step' or 'lambda'")
        if self.target == "auto" and self.n_critics < 2:
            raise AgentError("target='auto' compares critics, so n_critics has to be at least 2; or choose the target")
        require_policy_kwargs(cast("type[LookaheadPolicy]", self.policy_class), self.policy_kwargs)

    def _setup_model(self) -> None:
        require_actions(self.action_space)
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        if self.n_steps is None:
            self.n_steps = max(1, STEPS_PER_ITERATION // self.n_envs)
        policy = self._new_policy(self.policy_kwargs).to(self.device)
        self.policy = policy  # pyright: ignore[reportIncompatibleVariableOverride] - set here alone
        self.experience = Experience(max(1, self.buffer_size // (self.n_steps * self.n_envs)))
        self.evidence = Evidence()
        self._last_masks: NDArray[np.bool_] | None = None

    def _new_policy(self, policy_kwargs: Mapping[str, Any]) -> LookaheadPolicy:
        policy_class = cast("type[LookaheadPolicy]", self.policy_class)
        return policy_class(
            self.observation_space, self.action_space, self.lr_schedule, n_critics=self.n_critics, **policy_kwargs
        )

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "KSampleLookahead",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Learn from at least ``total_timesteps`` steps, in whole rollouts; as in stable-baselines3.

        Raises:
            AgentError: There is no environment; an observation or a reward is not finite, or so large that a network
                overflows; or a mask is missing or forbids everything. The rollout is dropped, and the networks are
                those of the last whole iteration.
        """
        total_timesteps, started = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        started.on_training_start(locals(), globals())
        iteration = 0
        while self.num_timesteps < total_timesteps:
            rollout = self.collect_rollout(started)
            if rollout is None:
                break
            iteration += 1
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            self.train(rollout)
            if log_interval and iteration % log_interval == 0:
                self.dump_logs(iteration)
        started.on_training_end()
        return self

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        if self.env is None:
            raise AgentError("there is no environment to learn on; call set_env(env), or pass load an env")
        starts_anew = reset_num_timesteps or self._last_obs is None
        prepared = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if starts_anew:
            env = self.env
            reset_infos = env.unwrapped.reset_infos
            self._masks_from_method = env.has_attr("action_masks")
            is_masked = self._masks_from_method or any("action_mask" in info for info in reset_infos)
            if self.experience.n_rollouts and is_masked != self._is_masked:
                raise AgentError("this environment and that of the experience kept differ in having action masks")
            self._is_masked = is_masked
            self._last_masks = self._masks(reset_infos)
            self._require_finite("observation", self._last_obs)
            self._last_original_obs = self._original(self._last_obs)
        return prepared

    # collecting

    def collect_rollout(self, callback: BaseCallback) -> Transitions | None:
        """One rollout (n_steps, n_envs, ...), not normalised, or None if the callback stops it."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        steps: list[Transitions] = []
        for _ in range(cast("int", self.n_steps)):
            step = self._step(callback)
            if step is None:
                return None
            steps.append(step)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return combine(torch.stack, steps)

    def _step(self, callback: BaseCallback) -> Transitions | None:
        """One step of every environment, (n_envs, ...)."""
        env = cast("VecEnv", self.env)
        observations, masks = self._tensors(self._last_obs), self.policy.masks_to_tensor(self._last_masks)
        before = self._tensors(self._last_original_obs)
        # Until all of the step is known to be sound the environment stands where nothing is known; then it is reset.
        self._last_obs = None
        codes = self._explore(observations, masks)
        new_obs, rewards, dones, infos = env.step(self.policy.actor.decode(codes))
        self.num_timesteps += env.num_envs
        self._require_finite("reward", rewards)
        self._require_finite("observation", new_obs)
        self._last_masks = self._masks(
            [env.unwrapped.reset_infos[i] if dones[i] else info for i, info in enumerate(infos)]
        )
        self._last_obs = cast("Any", new_obs)
        self._last_original_obs = after = self._original(new_obs)
        callback.update_locals(locals())
        if not callback.on_step():
            return None
        self._update_info_buffer(infos, dones)
        terminated = [
            done and not info.get("TimeLimit.truncated", False) for done, info in zip(dones, infos, strict=True)
        ]
        return Transitions(
            before,
            self._tensors(self._finished(after, dones, infos)),
            codes,
            self._floats(rewards if self._normalizer is None else self._normalizer.get_original_reward()),
            self._floats(terminated),
            self._floats(dones),
            masks,
        )

    @torch.no_grad()
    def _explore(self, observations: Observations, masks: Tensor | None) -> Tensor:
        features = self.policy.features_for_actor(observations)
        codes = self.policy.actor.sample(features, 1, masks)
        return self.policy.actor.mutate(codes, self.exploration, masks)[:, 0]

    def _finished(self, new_obs: Any, dones: NDArray[np.bool_], infos: list[dict[str, Any]]) -> Any:
        """What the actions led to: the last observation of an episode that ended, not the first of the next."""
        if not dones.any():
            return new_obs
        finished = {key: np.array(one) for key, one in new_obs.items()} if isinstance(new_obs, dict) else new_obs.copy()
        for i in np.flatnonzero(dones):
            last: Any = infos[i]["terminal_observation"]
            last = last if self._normalizer is None else self._normalizer.unnormalize_obs(last)
            if isinstance(finished, dict):
                for key, one in last.items():
                    _put(finished[key], int(i), one)
            else:
                _put(finished, int(i), last)
        self._require_finite("observation", finished)
        return finished

    @property
    def _normalizer(self) -> VecNormalize | None:
        return self.env if isinstance(self.env, VecNormalize) else None

    def _original(self, observations: Any) -> Any:
        """Observations of this moment before they were normalised."""
        return observations if self._normalizer is None else self._normalizer.get_original_obs()

    def _shown(self, transitions: Transitions) -> Transitions:
        """Transitions as networks see them: by the normalisation of today, not of when they were stored."""
        normalizer = self._normalizer
        if normalizer is None:
            return transitions
        arrays = to_arrays(vars(transitions))
        parts = ("observations", "next_observations")
        normalized = {name: self._tensors(normalizer.normalize_obs(arrays[name])) for name in parts}
        return replace(transitions, **normalized, rewards=self._floats(normalizer.normalize_reward(arrays["rewards"])))

    def _rows(self, index: Tensor) -> Transitions:
        return self._shown(self.experience.rows(index))

    def _newest(self, n: int) -> list[Transitions]:
        return [self._shown(rollout) for rollout in self.experience.newest(n)]

    def _masks(self, infos: list[dict[str, Any]]) -> NDArray[np.bool_] | None:
        """What is allowed in each environment now (n_envs, n_1 + ... + n_d); None where nothing is masked."""
        if not self._is_masked:
            if any("action_mask" in info for info in infos):
                raise AgentError('an info of step has "action_mask", but none of reset had; give it in both')
            return None
        given = self._called_masks() if self._masks_from_method else [info.get("action_mask") for info in infos]
        for i, mask in enumerate(given):
            if mask is None:
                raise AgentError(
                    f"environment {i} gives no action mask, where one did; give one at each reset and step, of ones "
                    "where everything is allowed"
                )
        return checked_masks(given, self.policy.actor)

    def _called_masks(self) -> list[Any]:
        try:
            return cast("VecEnv", self.env).env_method("action_masks")
        except TypeError as error:
            raise AgentError(f"action_masks is no method of the environment without arguments: {error}") from error

    def _tensors(self, observations: Any) -> Observations:
        """Observations on the device, copied: environments may write into the arrays they return."""
        if isinstance(observations, dict):
            return {key: torch.tensor(one, device=self.device) for key, one in observations.items()}
        return torch.tensor(observations, device=self.device)

    def _floats(self, values: Any) -> Tensor:
        return torch.tensor(np.asarray(values, dtype=np.float32), device=self.device)

    def _require_finite(self, name: str, values: Any) -> None:
        if isinstance(values, dict):
            for key, one in values.items():
                self._require_finite(f"{name}[{key!r}]", one)
            return
        if values.dtype.kind != "f":
            return
        # Networks see float32, in which more is infinite.
        unsound = ~(np.abs(values) <= np.finfo(np.float32).max)
        if unsound.any():
            self._last_obs = None
            i = int(np.argwhere(unsound)[0, 0])
            raise AgentError(
                f"the {name} of environment {i} is not finite at step {self.num_timesteps // self.n_envs} "
                f"({values[i]}, in float32); nothing was learnt from this rollout"
            )

    # learning

    def train(self, rollout: Transitions) -> None:
        """One iteration's learning from a new rollout (n_steps, n_envs, ...), not normalised.

        Raises:
            AgentError: A network overflowed. The rollout is dropped, and the networks are what they were before.
        """
        n_rollouts, tally = self.experience.n_rollouts, self.evidence.tally.clone()
        before: dict[str, Any] = copy.deepcopy(self.get_parameters())
        try:
            self._learn_from(rollout)
        except AgentError:
            self.set_parameters(before, device=self.device)
            self.evidence.tally = tally
            if self.experience.n_rollouts > n_rollouts:
                self.experience.drop_newest()
            raise

    def _learn_from(self, rollout: Transitions) -> None:
        self.policy.set_training_mode(True)
        optimizers = [self.policy.value_optimizer, self.policy.advantage_optimizer, self.policy.actor_optimizer]
        self._update_learning_rate(optimizers)
        evaluates = self._n_updates % (self.evaluate_every or sys.maxsize) == 0
        if evaluates and self.target == "auto":
            self._gather_evidence(self._shown(rollout))
        self.experience.append(rollout)
        assignment = self._assignment()
        if evaluates:
            self._fit_value(self._shown(rollout), assignment)
            self._fit_advantages(assignment, rollout.rewards.numel())
        self._distil(assignment, rollout.rewards.numel())
        self._n_updates += 1
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    @torch.no_grad()
    def _gather_evidence(self, rollout: Transitions) -> None:
        """Compare the two halves of the ensemble on a rollout they have not seen."""
        if self.experience.n_rollouts == 0 or self.evidence.choice is not None:
            return
        reference, _ = self._lambda_targets(rollout, 1.0)
        states, half = rollout.flat(), self.n_critics // 2
        scores = torch.cat([self._relative_scores(chunk) for chunk in states.split(_CHUNK)], dim=1)
        one_step, lambda_ = (part.mean(0).view(reference.shape) for part in (scores[:half], scores[half:]))
        self.evidence.add(one_step, lambda_, reference)

    @torch.no_grad()
    def _relative_scores(self, transitions: Transitions) -> Tensor:
        """A(s, a) - E A(s, a'), a' from the policy, by each critic: (n_critics, B)."""
        features = self.policy.features_for_actor(transitions.observations)
        if self._is_enumerable:
            law, others = self._enumerable.log_law(features, transitions.masks).exp(), self._all_actions(len(features))
        else:
            others = self.policy.actor.sample(features, BASELINE_ACTIONS, transitions.masks)
            law = torch.full(others.shape[:2], 1 / BASELINE_ACTIONS, device=self.device)
        scores = self.policy.advantages(transitions.observations, torch.cat([transitions.codes[:, None], others], 1))
        return scores[..., 0] - (law * scores[..., 1:]).sum(-1)

    def _assignment(self) -> list[Target]:
        """The target of each critic."""
        choice: Target | None = self.evidence.choice if self.target == "auto" else self.target
        self.logger.record("train/target", choice or "both")
        if choice is not None:
            return [choice] * self.n_critics
        return ["one-step" if i < self.n_critics // 2 else "lambda" for i in range(self.n_critics)]

    def _fit_value(self, rollout: Transitions, assignment: list[Target]) -> None:
        """Fit V to what the targets take it to be, recomputed each round."""
        from_all = "lambda" not in assignment and self.experience.n_rollouts > 1
        losses: list[Tensor] = []
        for _ in range(VALUE_ROUNDS):
            observations, values = self._sampled_values(rollout.rewards.numel()) if from_all else self._returns(rollout)
            self.policy.rescale_value(values)
            for rows in self._passes(len(values), self.value_epochs / VALUE_ROUNDS):
                loss = self.policy.value_loss(take(observations, rows), values[rows])
                self._descend(self.policy.value_optimizer, loss)
                self.policy.average("value", self.tau)
                losses.append(loss.detach())
        self._conclude("value", losses)

    def _returns(self, rollout: Transitions) -> tuple[Observations, Tensor]:
        """States of a rollout and their lambda-returns."""
        advantages, values = self._lambda_targets(rollout, self.gae_lambda)
        return rollout.flat().observations, (advantages + values).flatten()

    @torch.no_grad()
    def _sampled_values(self, n: int) -> tuple[Observations, Tensor]:
        """``n`` states of all experience and estimates of V there; see :mod:`.targets`."""
        some = self._rows(torch.randint(self.experience.size, (n,), device=self.device))
        deltas, values = self._one_step_targets(some)
        scores = torch.cat([self._relative_scores(chunk).mean(0) for chunk in some.split(_CHUNK)])
        return some.observations, values + deltas - scores

    def _fit_advantages(self, assignment: list[Target], n_new: int) -> None:
        """Fit each critic to its target, with gradient steps in proportion to the new transitions."""
        draws = (max(1, round(self.advantage_epochs * n_new / self.batch_size)), self.batch_size)
        order = assignment if len(set(assignment)) > 1 else assignment[:1]
        data = {target: self._regression(target, draws) for target in dict.fromkeys(order)}
        spread = torch.stack([regression.targets.std(correction=0) for regression in data.values()]).max()
        scale = torch.where(spread > 0, spread, 1.0)
        self.policy.rescale_advantage(scale)
        losses: list[Tensor] = []
        for i in range(draws[0]):
            batches = {target: regression.batch(i) for target, regression in data.items()}
            seen = {target: self.policy.features_for_advantage(batch.observations) for target, batch in batches.items()}
            features = torch.stack([seen[target] for target in order])
            codes = torch.stack([batches[target].codes for target in order])
            targets = torch.stack([batches[target].targets for target in order])
            predicted = self.policy.advantage(features, codes[:, :, None]).squeeze(-1)
            loss = (predicted - targets / scale).square().mean()
            self._descend(self.policy.advantage_optimizer, loss)
            self.policy.average("advantage", self.tau)
            losses.append(loss.detach())
        self._conclude("advantage", losses)

    @torch.no_grad()
    def _regression(self, target: Target, shape: tuple[int, int]) -> "_Regression":
        """What the advantages are fitted to, and draws (n, batch) from it."""
        if target == "one-step":
            drawn = torch.randint(self.experience.size, shape, device=self.device)
            # Targets are needed for what was drawn only, however long the memory.
            rows, draws = drawn.unique(return_inverse=True)
            transitions = self._rows(rows)
            targets, _ = self._one_step_targets(transitions)
        else:
            recent = self._newest(LAMBDA_ROLLOUTS)
            transitions = combine(torch.cat, [rollout.flat() for rollout in recent])
            targets = torch.cat([self._lambda_targets(rollout, self.gae_lambda)[0].flatten() for rollout in recent])
            draws = torch.randint(len(targets), shape, device=self.device)
        return _Regression(transitions.observations, transitions.codes, targets, draws)

    def _one_step_targets(self, transitions: Transitions) -> tuple[Tensor, Tensor]:
        """r + gamma V(s') - V(s) of flat transitions, and V(s)."""
        values = self.policy.values(transitions.observations)
        next_values = self.policy.values(transitions.next_observations)
        deltas = temporal_differences(transitions.rewards, transitions.terminated, values, next_values, self.gamma)
        return deltas, values

    @torch.no_grad()
    def _lambda_targets(self, rollout: Transitions, gae_lambda: float) -> tuple[Tensor, Tensor]:
        """lambda-advantages of a rollout (n_steps, n_envs), and V(s)."""
        deltas, values = (part.view(rollout.rewards.shape) for part in self._one_step_targets(rollout.flat()))
        return lambda_advantages(deltas, rollout.ends, self.gamma * gae_lambda), values

    def _distil(self, assignment: list[Target], n_new: int) -> None:
        """Fit the policy to the lookahead law, with gradient steps in proportion to the new transitions."""
        states = self._states_to_improve(assignment, n_new * self.actor_epochs)
        candidates, weights = self._lookahead(states)
        losses: list[Tensor] = []
        for rows in self._passes(len(weights), n_new * self.actor_epochs / len(weights)):
            features = self.policy.features_for_actor(take(states.observations, rows))
            masks = None if states.masks is None else states.masks[rows]
            if candidates is None:
                log_law = self._enumerable.log_law(features, masks)
                loss = -(weights[rows] * log_law.clamp(min=LEAST_LOG)).sum(-1).mean()
            else:
                loss = self.policy.actor.cross_entropy(features, candidates[rows], weights[rows], self.n_labels, masks)
            self._descend(self.policy.actor_optimizer, loss)
            losses.append(loss.detach())
        self._conclude("actor", losses)
        self.logger.record("train/entropy", self._entropy(states))

    def _conclude(self, network: str, losses: list[Tensor]) -> None:
        """Log the mean loss of a fit, once it is known to have ended in finite numbers."""
        loss = torch.stack(losses).mean().item()
        unsound = [name for name, tensor in self.policy.state_dict().items() if not tensor.isfinite().all()]
        if unsound or not math.isfinite(loss):
            raise AgentError(
                f"the {network} network overflowed float32 by step {self.num_timesteps // self.n_envs} (mean loss "
                f"{loss}, {', '.join(unsound[:3]) or 'no tensor'} not finite); nothing was learnt from this rollout: "
                "scale rewards to about 1 (stable-baselines3's VecNormalize, gymnasium.wrappers.TransformReward), or "
                "lower learning_rate"
            )
        self.logger.record(f"train/{network}_loss", loss)

    def _states_to_improve(self, assignment: list[Target], n: int) -> Transitions:
        """At most ``n`` states, and no more than STEPS_PER_ITERATION or a rollout has, of those A knows about.

        With one-step targets that is all experience: in a state seen long ago A has changed since. Lambda targets
        know of recent states only.
        """
        n_rollouts = math.ceil(STEPS_PER_ITERATION / (cast("int", self.n_steps) * self.n_envs))
        newest = self._newest(n_rollouts)
        n = min(n, sum(rollout.rewards.numel() for rollout in newest))
        if "lambda" not in assignment:
            return self._rows(torch.randint(self.experience.size, (n,), device=self.device))
        recent = combine(torch.cat, [rollout.flat() for rollout in newest])
        rows = torch.randperm(len(recent.rewards), device=self.device)[:n]
        return recent.map(lambda tensor: tensor[rows])

    @torch.no_grad()
    def _lookahead(self, states: Transitions) -> tuple[Tensor | None, Tensor]:
        """Candidates (B, m, width), or None for all actions, and their weights (B, m)."""
        if self._is_enumerable:
            return None, torch.cat([self._lookahead_exactly(chunk) for chunk in states.split(_CHUNK)])
        found = [self._lookahead_among_candidates(chunk) for chunk in states.split(_CHUNK)]
        return torch.cat([codes for codes, _ in found]), torch.cat([weights for _, weights in found])

    def _lookahead_exactly(self, states: Transitions) -> Tensor:
        """The law of the best of K among all actions (B, n)."""
        actor = self._enumerable
        law = actor.log_law(self.policy.features_for_actor(states.observations), states.masks).exp()
        proposed = actor.mutated(law, self.mutation, states.masks)
        scores = self.policy.advantages(states.observations, self._all_actions(len(law))).mean(0)
        return lookahead_law(proposed, scores, self.K).float()

    def _lookahead_among_candidates(self, states: Transitions) -> tuple[Tensor, Tensor]:
        """Candidates from the policy, some mutated, and their rank weights."""
        features = self.policy.features_for_actor(states.observations)
        codes = self.policy.actor.sample(features, self.n_candidates, states.masks)
        codes = self.policy.actor.mutate(codes, self.mutation, states.masks)
        scores = self.policy.advantages(states.observations, codes).mean(0)
        return codes, candidate_weights(scores, self.K).float()

    @torch.no_grad()
    def _entropy(self, states: Transitions) -> float:
        """Entropy of the policy, estimated by one action in each of a batch of states."""
        some = next(iter(states.split(self.batch_size)))
        features = self.policy.features_for_actor(some.observations)
        codes = self.policy.actor.sample(features, 1, some.masks)
        return -self.policy.actor.log_prob(features, codes, some.masks).mean().item()

    def _all_actions(self, n: int) -> Tensor:
        """The codes of all actions, for each of ``n`` states: (n, actions, 1)."""
        return torch.arange(self._enumerable.nvec[0], device=self.device)[None, :, None].expand(n, -1, -1)

    @property
    def _is_enumerable(self) -> bool:
        actor = self.policy.actor
        return isinstance(actor, DigitActor) and actor.width == 1 and actor.nvec[0] <= self.enumerate_up_to

    @property
    def _enumerable(self) -> DigitActor:
        return cast("DigitActor", self.policy.actor)

    def _passes(self, n: int, epochs: float) -> Iterator[Tensor]:
        """Minibatches of 0, ..., n - 1 in random order; ``epochs`` of them, rounded up."""
        for _ in range(math.ceil(epochs)):
            yield from torch.randperm(n, device=self.device).split(self.batch_size)

    def _descend(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], LARGEST_GRADIENT)
        optimizer.step()

    def dump_logs(self, iteration: int = 0) -> None:
        """Write the log of an iteration, with stable-baselines3's keys."""
        elapsed = max((time.time_ns() - self.start_time) / 1e9, sys.float_info.epsilon)
        record = self.logger.record
        record("time/iterations", iteration, exclude="tensorboard")
        if self.ep_info_buffer:
            record("rollout/ep_rew_mean", safe_mean([info["r"] for info in self.ep_info_buffer]))
            record("rollout/ep_len_mean", safe_mean([info["l"] for info in self.ep_info_buffer]))
        if self.ep_success_buffer:
            record("rollout/success_rate", safe_mean(self.ep_success_buffer))
        record("time/fps", int((self.num_timesteps - self._num_timesteps_at_start) / elapsed))
        record("time/time_elapsed", int(elapsed), exclude="tensorboard")
        record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(step=self.num_timesteps)

    # using

    def predict(
        self,
        observation: NDArray[Any] | dict[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions of the policy, none mutated; see :meth:`LookaheadPolicy.predict`."""
        return self.policy.predict(observation, state, episode_start, deterministic, action_masks)

    # files

    def save(  # pyright: ignore[reportIncompatibleMethodOverride] - what to leave out of a pickle has no meaning here
        self, path: str | Path
    ) -> None:
        """Write networks, optimisers, counters and hyperparameters: arrays and JSON.

        Experience and random states are not written. A schedule, or a class in ``policy_kwargs``, is code and not
        written either: hand the same to :meth:`load`.

        Args:
            path: File to write; one without a suffix gets ``.zip``.

        Raises:
            AgentError: The policy is not one of the three named ones.
        """
        names = [name for name, known in self.policy_aliases.items() if known is self.policy_class]
        if not names:
            raise AgentError(
                f"{self.policy_class.__name__} is code, which a file cannot hold; use a policy by its name"
            )
        plain, others = hyperparameters(self)
        content = {
            "algorithm": _NAME,
            "policy": names[0],
            "observation_space": space_to_plain(self.observation_space),
            "action_space": space_to_plain(self.action_space),
            "n_envs": self.n_envs,
            "hyperparameters": plain,
            "custom_objects": others,
            "memory": algorithm_memory(self),
        }
        write_archive(_with_suffix(path), content)

    def experience_memory(self) -> dict[str, Any]:
        """The rollouts kept, as arrays; not part of :meth:`save`."""
        return to_arrays(self.experience.memory())

    def remember_experience(self, experience: Mapping[str, Any]) -> None:
        """Take over what :meth:`experience_memory` of an algorithm with equal hyperparameters returned.

        Raises:
            AgentError: The rollouts are of another length, or there are more than this algorithm keeps.
        """
        n_rollouts, rollouts = whole_number("n_rollouts", experience["n_rollouts"], 0), experience["rollouts"]
        if not n_rollouts:
            self.experience.remember(0, None)
            return
        shape, n_kept = np.shape(rollouts["rewards"]), min(n_rollouts, self.experience.window)
        if shape != (n_kept, self.n_steps, self.n_envs):
            raise AgentError(
                f"the rollouts kept have shape {shape}; expected {(n_kept, self.n_steps, self.n_envs)}: load them with "
                "the hyperparameters and as many environments as they were made with"
            )
        kept = Transitions(**to_tensors(rollouts)).map(lambda tensor: tensor.to(self.device))
        self.experience.remember(n_rollouts, kept)
        self._is_masked = kept.masks is not None

    @classmethod
    def load(  # pyright: ignore[reportIncompatibleMethodOverride] - stable-baselines3's also takes any keyword
        cls,
        path: str | Path,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        custom_objects: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read an algorithm written by :meth:`save`; no code of the file is run.

        Args:
            path: File to read, with or without ``.zip``.
            env: Environment to learn on in; it begins anew, and so does the experience.
            device: torch device.
            custom_objects: Hyperparameters by name that replace the file's: code that it does not hold (schedules,
                classes in ``policy_kwargs``), or other values.

        Raises:
            AgentError: The file is damaged, holds something else (numbers that are not finite, tensors of other sizes
                than its hyperparameters make) or was written for other spaces than ``env`` has, or a custom object is
                missing.
            FileNotFoundError: There is no such file.
        """
        content = read_archive(_with_suffix(path))
        if content.get("algorithm") != _NAME:
            raise AgentError(f"{path} holds {content.get('agent', 'something else')!r}, not {_NAME}")
        try:
            return cls._from_content(content, env, device, dict(custom_objects or {}))
        except AgentError as error:
            raise AgentError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError, AssertionError) as error:
            raise AgentError(f"{path} does not hold all of its algorithm, or holds it wrongly: {error!r}") from error

    @classmethod
    def _from_content(
        cls, content: Mapping[str, Any], env: GymEnv | None, device: torch.device | str, custom: dict[str, Any]
    ) -> Self:
        missing = set(content["custom_objects"]) - set(custom)
        if missing:
            raise AgentError(f"code is not in the file; pass custom_objects with {', '.join(sorted(missing))}")
        unknown = set(content["hyperparameters"]) - set(hyperparameter_names(cls))
        if unknown:
            raise AgentError(f"its hyperparameters {', '.join(sorted(unknown))} are none that save writes")
        arguments = content["hyperparameters"] | custom
        # The seed describes how the algorithm began; begun anew with it, it would repeat its random numbers.
        seed = arguments.pop("seed")
        model = cls(content["policy"], env, device=device, _init_setup_model=False, **arguments)
        spaces_of_file = {name: space_from_plain(content[name]) for name in ("observation_space", "action_space")}
        if env is None:
            model.n_envs = whole_number("n_envs", content["n_envs"], 1)
            model.observation_space, model.action_space = spaces_of_file.values()
        for name, space in spaces_of_file.items():
            if vars(model)[name] != space:
                raise AgentError(f"it was written for {name} {space}, but the environment has {vars(model)[name]}")
        if "policy_kwargs" not in custom:
            model._require_tensors(content["memory"]["networks"]["policy"])
        model._setup_model()
        model.seed = seed
        remember_algorithm(model, content["memory"])
        return model

    def _require_tensors(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Compare a file's tensors with what its hyperparameters make, before memory is taken for any of it."""
        n, most = math.prod(self.action_space.shape or ()), sum(np.size(array) for array in arrays.values())
        if n > most:
            raise AgentError(f"actions have {n} digits, more than the {most} numbers that the networks hold")
        self._setup_lr_schedule()
        # Sizes do not depend on the optimiser, and not every one takes tensors that are only sizes.
        plain = {"optimizer_class": torch.optim.SGD, "optimizer_kwargs": {}}
        with torch.device("meta"):
            sizes = self._new_policy(self.policy_kwargs | plain).state_dict()
        require_arrays("the policy", arrays, sizes)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        optimizers = ["policy.actor_optimizer", "policy.value_optimizer", "policy.advantage_optimizer"]
        return ["policy", *optimizers], ["evidence.tally"]


@dataclass(frozen=True)
class _Regression:
    """Data of a regression on flat transitions, and the draws (n, batch) that make its minibatches."""

    observations: Observations
    codes: Tensor
    targets: Tensor
    draws: Tensor

    def batch(self, i: int) -> "_Regression":
        rows = self.draws[i]
        return _Regression(take(self.observations, rows), self.codes[rows], self.targets[rows], rows)


def _with_suffix(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix else path.with_suffix(".zip")


def _put(rows: NDArray[Any], i: int, row: NDArray[Any]) -> None:
    """Set a row; whole numbers that were normalised and are back may be a little off."""
    rows[i] = np.rint(row) if rows.dtype.kind in "iu" else row


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)
