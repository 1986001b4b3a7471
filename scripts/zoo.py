"""``python -m lookahead_rl.scripts.zoo``: rl_zoo3's programs, with K-sample lookahead among their algorithms.

    python -m lookahead_rl.scripts.zoo train --algo ksl --env CartPole-v1
    python -m lookahead_rl.scripts.zoo enjoy --algo ksl --env CartPole-v1 --folder logs --no-render
    python -m lookahead_rl.scripts.zoo plot_train --algo ksl --env CartPole-v1 --exp-folder logs

Everything after the program's name is rl_zoo3's own (Raffin, RL Baselines3 Zoo, 2020; ``train --help`` shows it), and
so are the files it writes. Added are the algorithm ``ksl``, its hyperparameters (``hyperparameters/ksl.yml``, read
unless ``--conf-file`` names others), its space for ``--optimize-hyperparameters``, and this package's environments.
"""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from .. import __version__
from ..agents import AgentError

ALGORITHM = "ksl"
CONF_FILE = Path(__file__).parent / "hyperparameters" / f"{ALGORITHM}.yml"
PROGRAMS = {
    "train": "rl_zoo3.train",
    "enjoy": "rl_zoo3.enjoy",
    "plot_train": "rl_zoo3.plots",
    "plot_from_file": "rl_zoo3.plots",
    "all_plots": "rl_zoo3.plots",
}
"""The module of each program; the program is the function of that name in it."""


def _load(
    path: str,
    env: Any = None,
    device: Any = "auto",
    custom_objects: Mapping[str, Any] | None = None,
    seed: int | None = None,
    **arguments: Any,
) -> Any:
    """The algorithm in a file, as ``KSampleLookahead.load`` reads it."""
    from ..agents.lookahead import KSampleLookahead
    from ..agents.lookahead.saving import hyperparameter_names
    from ..agents.storage import read_archive

    known = {*hyperparameter_names(KSampleLookahead), "tensorboard_log"}
    replaced = {name: value for name, value in {**(custom_objects or {}), **arguments}.items() if name in known}
    if "learning_rate" in read_archive(Path(path)).get("custom_objects", ()):
        # A rate that falls is not in the file. Who goes on to train has handed it over; nobody else needs one.
        replaced.setdefault("learning_rate", 0.0)
    model = KSampleLookahead.load(path, env, device=device, custom_objects=_with_plain_rate(replaced))
    model.set_random_seed(seed)
    return model


def _with_plain_rate(arguments: Mapping[str, Any]) -> dict[str, Any]:
    from stable_baselines3.common.utils import ConstantSchedule

    rate = arguments.get("learning_rate")
    return {**arguments, "learning_rate": rate.val} if isinstance(rate, ConstantSchedule) else dict(arguments)


@final
class ZooAlgorithm:
    """``KSampleLookahead`` as rl_zoo3 calls an algorithm: the constructor, and ``load``.

    rl_zoo3 makes a schedule of every learning rate. A schedule that is constant is handed on as its number, so that the
    saved model holds it; and of what rl_zoo3 passes to any algorithm's ``load`` this one takes what it knows.
    """

    __name__ = "KSampleLookahead"

    def __call__(self, **arguments: Any) -> Any:
        """The algorithm with these arguments."""
        from ..agents.lookahead import KSampleLookahead

        return KSampleLookahead(**_with_plain_rate(arguments))

    load = staticmethod(_load)


def _sample(trial: Any, _n_actions: int, _n_envs: int, _additional: Mapping[str, Any]) -> dict[str, Any]:
    """One draw of hyperparameters by an optuna trial, for ``--optimize-hyperparameters``."""
    return {
        "n_steps": trial.suggest_categorical("n_steps", [32, 64, 128, 256]),
        "gamma": trial.suggest_categorical("gamma", [0.4, 0.9, 0.95, 0.98, 0.99, 0.999]),
        "target": trial.suggest_categorical("target", ["one-step", "lambda"]),
        "K": trial.suggest_categorical("K", [2.0, 4.0, 8.0]),
        "exploration": trial.suggest_categorical("exploration", [0.0, 0.02, 0.05, 0.1, 0.5]),
        "mutation": trial.suggest_categorical("mutation", [0.02, 0.05, 0.1, 0.2, 0.5]),
        "advantage_epochs": trial.suggest_categorical("advantage_epochs", [8, 16, 24, 32]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
    }


def register() -> None:
    """Add the algorithm to rl_zoo3's dictionaries."""
    utils = importlib.import_module("rl_zoo3.utils")
    search = importlib.import_module("rl_zoo3.hyperparams_opt")
    utils.ALGOS[ALGORITHM] = ZooAlgorithm()
    search.HYPERPARAMS_SAMPLER[ALGORITHM] = _sample
    search.HYPERPARAMS_CONVERTER[ALGORITHM] = dict  # draws are hyperparameters already


def train_arguments(arguments: Sequence[str]) -> list[str]:
    """Arguments of ``train``, completed by what the algorithm's hyperparameters say.

    The file of hyperparameters is named unless another one is. Where it gives ``env_kwargs`` and the arguments do not,
    they are repeated for the environment that evaluates, to which rl_zoo3 (2.9) does not pass them.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algo")
    parser.add_argument("--env", default="CartPole-v1")
    parser.add_argument("-conf", "--conf-file")
    parser.add_argument("--env-kwargs", nargs="+")
    parser.add_argument("--eval-env-kwargs", nargs="+")
    given, _ = parser.parse_known_args(arguments)
    if given.algo != ALGORITHM:
        return list(arguments)
    completed = [*arguments] if given.conf_file else [*arguments, "--conf-file", str(CONF_FILE)]
    path = Path(given.conf_file or CONF_FILE)
    if given.env_kwargs or given.eval_env_kwargs or path.suffix not in (".yml", ".yaml"):
        return completed
    pairs = [f"{key}:{value!r}" for key, value in read_hyperparameters(path, given.env).get("env_kwargs", {}).items()]
    return [*completed, "--eval-env-kwargs", *pairs] if pairs else completed


def read_hyperparameters(path: Path, env_id: str) -> dict[str, Any]:
    """What a file of hyperparameters says of an environment, or by default; nothing where it says neither.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: pyyaml is not installed.
    """
    import yaml

    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return entries.get(env_id, entries.get("default", {}))


def main(args: Sequence[str] | None = None) -> None:
    """Run one of rl_zoo3's programs."""
    arguments = list(sys.argv[1:] if args is None else args)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{__doc__}\nPrograms: {', '.join(PROGRAMS)}.")
        return
    program = arguments.pop(0)
    if program not in PROGRAMS:
        _end(f"there is no program {program!r}; choose one of {', '.join(PROGRAMS)}")
    if importlib.util.find_spec("rl_zoo3") is None:
        _end('the zoo needs rl_zoo3: pip install "lookahead-rl[zoo]"')
    register()
    function = vars(importlib.import_module(PROGRAMS[program]))[program]
    sys.argv = [f"rl_zoo3 {program}", *(train_arguments(arguments) if program == "train" else arguments)]
    try:
        function()
    except (AgentError, OSError) as error:
        _end(str(error))


def _end(message: str) -> None:
    print(f"lookahead-rl {__version__}: {message}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
