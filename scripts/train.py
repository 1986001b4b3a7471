"""``lookahead-rl train``: train an agent, with everything on record; a killed run goes on where it was.

    lookahead-rl train --agent PPO --env-id CartPole-v1 --total-timesteps 100000 --seed 0
    lookahead-rl train --agent DQN --env-id FrozenLake-v1 --hyperparameters learning_starts=1000 buffer_size=20000
    lookahead-rl train --agent PPO --env-id lookahead_rl/Soccer-v0 --side player_1 --opponent NashPlanner-v0

The same command again goes on with a run that was stopped, and reaches the result that it would have reached.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from ..experiments.jobs import Job
from ..models import ModelError
from .arguments import parse_pairs
from .io import print_table, require_writable, write_json

if TYPE_CHECKING:
    from ..experiments.training import TrainedRun, TrainingOptions

_SHOWN = ("steps", "mean_return", "value", "kind", "optimal_value", "score")


@dataclass(frozen=True)
class Train:
    """Train any agent on any environment. The same command goes on with a run that was killed."""

    agent: str = "PPO"
    """Registered id: PPO, A2C, DQN, SAC, KSampleLookahead-v0, LSVIUCB-v0, MinimaxQ-v0, ... or a plugin's."""
    env_id: str = "CartPole-v1"
    """Id of an environment of Gymnasium, or of a game of PettingZoo; "module:Id-v0" imports the module first."""
    total_timesteps: int = 100_000
    """Environment steps to learn from; on-policy algorithms take whole rollouts."""
    seed: int = 0
    """Seed of the agent and of all episodes."""
    env_kwargs: tuple[str, ...] = ()
    """Arguments of the environment, key=value, such as mdp_seed=3."""
    agent_kwargs: tuple[str, ...] = ()
    """Arguments of the agent, key=value, such as policy=CnnPolicy, or constants=practical."""
    hyperparameters: tuple[str, ...] = ()
    """Hyperparameters of a stable-baselines3 algorithm, key=value: n_steps=512 learning_rate=lin_3e-4
    policy_kwargs={"net_arch":[64,64]}."""
    n_envs: int = 1
    """Environments side by side, for the agents of stable-baselines3."""
    gamma: float | None = None
    """Discount of exact values where the environment's table has none, such as FrozenLake-v1."""
    side: str = "player_0"
    """In a game: the side that is played."""
    opponent: str | None = None
    """In a game: who plays the other side, an agent's id or the file of one. By default agents of games learn the game
    itself, and others meet uniform play."""
    eval_freq: int | None = None
    """Steps from one measurement of the policy to the next; by default a tenth of the run."""
    n_eval_episodes: int = 10
    """Episodes played at each, by the most likely actions; 0: none."""
    audit: bool = True
    """Log the exact value of the policy and its regret, where the model is known."""
    checkpoint_freq: int | None = None
    """Steps from one checkpoint to the next; by default a tenth of the run."""
    callback: tuple[str, ...] = ()
    """Callbacks, module:Name each: classes of stable-baselines3's kind, or functions (agent, steps) -> bool."""
    out: Path | None = None
    """Folder of the run; by default runs/AGENT-ENVIRONMENT-SEED."""
    tensorboard: bool = False
    """Write event files for tensorboard."""
    track: bool = False
    """Send the run to Weights & Biases (needs wandb); event files are written too."""
    wandb_project_name: str = "lookahead-rl"
    """Project of the tracked run."""
    wandb_entity: str | None = None
    """Team of the tracked run."""
    threads: int = 1
    """Threads of torch; part of the configuration, since sums depend on their number."""
    progress_bar: bool = True
    """Show progress on the terminal."""
    json: Path | None = None
    """Where to write what was measured as a JSON list of flat rows."""

    def run(self) -> None:
        """Train, and print what was measured."""
        from ..experiments.training import train

        console = Console()
        if self.json is not None:
            require_writable(self.json)
        if self.track:
            _require_wandb()
        job = self._job()
        folder = self.out or Path("runs") / re.sub(r"[^\w.-]+", "_", f"{job.agent}-{job.env_id}-{job.seed}")
        callbacks = [_named(one) for one in self.callback]
        try:
            done = train(
                job,
                folder,
                self._options(),
                callback=callbacks,
                progress_bar=self.progress_bar and console.is_terminal,
                tell=_teller(console),
                started=self._start_tracking(job) if self.track else None,
            )
        except KeyboardInterrupt:
            _teller(console)(f"Stopped; the same command goes on from the last checkpoint in {folder}.")
            raise SystemExit(130) from None
        self._show(console, job, done)
        if self.json is not None:
            write_json(self.json, done.rows)

    def _show(self, console: Console, job: Job, done: "TrainedRun") -> None:
        """Print what was measured, and where the agent is."""
        tell = _teller(console)
        if done.was_finished:
            tell(f"{done.folder} holds this run, finished; nothing was done")
        title = f"{job.agent} on {job.env_id}, seed {job.seed}: {done.steps:,} steps"
        shown = [name for name in _SHOWN if any(row[name] is not None for row in done.rows)]
        if done.rows:
            print_table(console, title, [{name: row[name] for name in shown} for row in done.rows])
        tell(f"the agent is {done.agent_file}")

    def _options(self) -> "TrainingOptions":
        from ..experiments.training import TrainingOptions

        return TrainingOptions(
            eval_freq=self.eval_freq,
            n_eval_episodes=self.n_eval_episodes,
            checkpoint_freq=self.checkpoint_freq,
            audit=self.audit,
            tensorboard=self.tensorboard or self.track,
            threads=self.threads,
        )

    def _job(self) -> Job:
        arguments: dict[str, Any] = {**parse_pairs("--agent-kwargs", self.agent_kwargs)}
        if self.hyperparameters:
            if "hyperparameters" in arguments:
                raise ModelError("hyperparameters are in --agent-kwargs too; give all of them by --hyperparameters")
            arguments["hyperparameters"] = parse_pairs("--hyperparameters", self.hyperparameters)
        return Job(
            agent=self.agent,
            env_id=self.env_id,
            total_timesteps=self.total_timesteps,
            seed=self.seed,
            env_kwargs=parse_pairs("--env-kwargs", self.env_kwargs),
            agent_kwargs=arguments,
            n_envs=self.n_envs,
            gamma=self.gamma,
            side=self.side,
            opponent=self.opponent,
        )

    def _start_tracking(self, job: Job) -> Callable[[dict[str, Any]], None]:
        def start(configuration: dict[str, Any]) -> None:
            wandb: Any = importlib.import_module("wandb")
            wandb.init(
                project=self.wandb_project_name,
                entity=self.wandb_entity,
                id=job.key,
                name=f"{job.agent}-{job.env_id}-{job.seed}",
                config=configuration,
                sync_tensorboard=True,
                resume="allow",
            )

        return start


def _teller(console: Console) -> Callable[[str], None]:
    """Prints a line as it is: names of files may look like markup."""
    return lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)


def _require_wandb() -> None:
    if importlib.util.find_spec("wandb") is None:
        raise ImportError("--track needs wandb: pip install wandb")


def _named(name: str) -> Any:
    """What ``module:Name`` names.

    Raises:
        ModelError: It is not of this form, or the module has no such name.
        ImportError: There is no such module.
    """
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ModelError(f"--callback is {name!r}; write module:Name, such as stable_baselines3.common.callbacks:Name")
    found = vars(importlib.import_module(module))
    if attribute not in found:
        raise ModelError(f"--callback is {name!r}, but {module} has no {attribute}")
    return found[attribute]
