"""``python -m lookahead_rl.scripts.reference``: the reference pages, from docstrings and from what can be computed.

One page for every agent and environment of this package, one for all commands, and an index. The pages are the same at
every run: optima and uniform play are exact, and shown with five digits.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
import pettingzoo
import tyro

from ..agents import agent_ids, make_agent
from ..agents.registry import THIS_PACKAGE, AgentSpec, agent_spec
from ..envs.game_registration import GAMES, MAX_CYCLES
from ..envs.registration import GYMNASIUM, Registration
from ..evaluation import audit, exploitability
from ..models import LargeActionMDP
from .docstrings import (
    PACKAGE,
    ROOT,
    Docstring,
    Parameter,
    argument_table,
    cell,
    code_cell,
    definition,
    docstring_of,
    entry_list,
    field_docstrings,
    inline,
    markdown,
    module_path,
    module_tree,
    parameters,
    table,
)

AUDIT = "print(audit(agent, env))"
EXPLOIT = "print(exploitability(env, agent, None))  # against uniform play"
ACT = "print(agent.predict(env.reset(seed=0)[0], deterministic=True)[0])"
BUDGET = 'env = gym.make("ConstrainedLinearMDP-v0", n_states=20, dim=3, horizon=3, mdp_seed=1)'
GAME = 'env = pettingzoo.make("parallel", "lookahead_rl/RandomMarkovGame-v0", n_states=5, gamma=0.8)'
NEEDLE = 'env = gym.make("NeedleMDP-v0", n_actions=3, horizon=6, dim=6, mdp_seed=1)'
REALIZABLE = 'env = gym.make("RealizableMDP-v0", mdp_seed=1)'
RIVER = 'env = gym.make("RiverSwim-v0")'
WORDS = 'env = gym.make("LargeActionMDP-v0", n_states=4, digits=3, horizon=5, observation="features")'


@dataclass(frozen=True)
class Example:
    """How an agent is made, taught and looked at, in a block of code that runs."""

    env: str
    arguments: str = ""
    steps: int = 0
    then: str = AUDIT

    def code(self, agent_id: str) -> str:
        """The block."""
        is_game = "pettingzoo" in self.env
        evaluates = next((name for name in ("audit", "exploitability") if f"{name}(" in self.then), None)
        lines = ["import pettingzoo" if is_game else "import gymnasium as gym", "", "import lookahead_rl"]
        lines += ["from lookahead_rl.agents import make_agent"]
        lines += [f"from lookahead_rl.evaluation import {evaluates}"] if evaluates else []
        made = ", ".join(part for part in (f'"{agent_id}", env', self.arguments, "seed=0") if part)
        return _python([*lines, "", self.env, f"agent = make_agent({made}).learn({self.steps:_})", self.then])


EXAMPLES: Mapping[str, Example] = {
    "A2C": Example(RIVER, steps=100),
    "BackwardInduction-v0": Example('env = gym.make("LinearMDP-v0", n_states=10**9)'),
    "BestResponse-v0": Example(GAME, 'side="player_0", opponent=None', then=EXPLOIT),
    "DQN": Example(RIVER, steps=200),
    "FictitiousPlay-v0": Example(GAME, 'side="player_0"', steps=1_000, then=EXPLOIT),
    "GamePolicyIteration-v0": Example(GAME, 'side="player_0", lookahead=2, rollout=5', then=EXPLOIT),
    "HardViolationSoftmax-v0": Example(BUDGET, "n_episodes=100", steps=300),
    "KSampleLookahead-v0": Example(WORDS, 'hyperparameters={"n_steps": 256}', steps=512),
    "LSVI-v0": Example(REALIZABLE, "budget=2_000"),
    "LSVIUCB-v0": Example('env = gym.make("LinearMDP-v0", horizon=4)', "n_episodes=100", steps=400),
    "MinimaxQ-v0": Example(GAME, 'side="player_0", decay=0.995', steps=1_000, then=EXPLOIT),
    "NashPlanner-v0": Example(GAME, 'side="player_0"', then=EXPLOIT),
    "PPO": Example(RIVER, 'hyperparameters={"n_steps": 128}', steps=256),
    "Random-v0": Example(RIVER),
    "RolloutPlanner-v0": Example(REALIZABLE, "budget=500", then=ACT),
    "SAC": Example('env = gym.make("Pendulum-v1")', steps=120, then=ACT),
    "SafeOptimisticPessimistic-v0": Example(BUDGET, "n_episodes=100", steps=300),
    "SoftmaxPrimalDual-v0": Example(BUDGET, "n_episodes=100", steps=300),
    "SparseSampling-v0": Example(REALIZABLE, "budget=500", then=ACT),
    "TensorPlan-v0": Example(NEEDLE, "budget=200", then="print(audit(agent, env, reachable=True))"),
    "UCBVI-v0": Example('env = gym.make("DeepSea-v0")', "reward_range=(-0.01, 1.0)", steps=500),
    "UCT-v0": Example(REALIZABLE, "budget=500", then=ACT),
    "UniformGame-v0": Example(GAME, 'side="player_0"', then=EXPLOIT),
    "ValueIteration-v0": Example(
        'env = gym.make("FrozenLake-v1")', "gamma=0.99", then="print(audit(agent, env, gamma=0.99))"
    ),
}
"""A small case for each agent. One that is registered without an example stops the command."""


TOPICS: Mapping[str, str] = {
    "constrained": "constrained.md",
    "exploration": "exploration.md",
    "games": "games.md",
    "local": "tensorplan.md",
    "lookahead": "lookahead.md",
}
"""The page about each family of agents, by its folder."""


@dataclass(frozen=True)
class Reference:
    """Write the reference pages: one for each agent, each environment, and one for the commands."""

    out: Path = Path("docs/reference")
    """Folder to write to. Pages of agents and environments that are no more are removed from it."""

    def run(self) -> None:
        """Write the pages, and remove those of nothing."""
        written = pages()
        for name, text in written.items():
            path = self.out / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path in self.out.rglob("*.md"):
            if path.relative_to(self.out).as_posix() not in written:
                path.unlink()


def pages() -> dict[str, str]:
    """The text of every page, by its path in the folder."""
    agents = {spec.id: _agent_docstring(spec) for spec in own_agents()}
    environments = {registration.id: _builder(registration) for registration in GYMNASIUM}
    games = {env_id: _game(name) for env_id, name in GAMES.items()}
    written = {f"agents/{name}.md": _agent_page(agent_spec(name)) for name in agents}
    for registration in GYMNASIUM:
        written[f"environments/{registration.id}.md"] = _environment_page(registration)
    for env_id, name in GAMES.items():
        written[f"environments/{_file_name(env_id)}.md"] = _game_page(env_id, name)
    summaries = {env_id: _titled(docstring_of(node), env_id) for env_id, node in (environments | games).items()}
    written["commands.md"] = _commands_page()
    written["index.md"] = _index({name: docstring.summary for name, docstring in agents.items()}, summaries)
    return written


def own_agents() -> list[AgentSpec]:
    """The agents that this package registers, not those of plugins."""
    specs = [agent_spec(name) for name in agent_ids()]
    return [s for s in specs if s.source == THIS_PACKAGE and s.entry_point.startswith(f"{PACKAGE}.")]


# agents


def _agent_docstring(spec: AgentSpec) -> Docstring:
    """The docstring of an agent; of its algorithm, where that is this package's."""
    _, algorithm = _algorithm(spec)
    found = docstring_of(definition(algorithm or spec.entry_point)[1])
    return found if not spec.kwargs or algorithm else Docstring(f"{spec.id} of stable-baselines3.", found.sections)


def _algorithm(spec: AgentSpec) -> tuple[str | None, str | None]:
    """The algorithm behind an agent of stable-baselines3: its name, and its entry point if it is this package's."""
    algorithm = cast("str | None", spec.kwargs.get("algorithm"))
    if algorithm is None:
        return None, None
    return algorithm.partition(":")[2], algorithm if algorithm.startswith(f"{PACKAGE}.") else None


def _agent_page(spec: AgentSpec) -> str:
    module, node = definition(spec.entry_point)
    docstring, (algorithm, own) = docstring_of(node), _algorithm(spec)
    facts = [("registered entry point", f"`{spec.entry_point}`")]
    facts += [("with", f"`{name}={value!r}`") for name, value in spec.kwargs.items()]
    facts += [("needs", f'`pip install "{THIS_PACKAGE}[{spec.extra}]"`' if spec.extra else "nothing beyond the core")]
    facts += [("plays", "one side of a PettingZoo game" if _plays_games(spec) else "a Gymnasium environment")]
    facts += [("source", f"[{_source(module)}](../../../{_source(module)})")]
    topic = TOPICS.get((own or spec.entry_point).split(".")[2].partition(":")[0])
    facts += [("more in", f"[docs/{topic}](../../{topic})")] if topic else []
    parts = [f"# {spec.id}", inline(_agent_docstring(spec).summary), _facts(facts), _agent_text(spec)]
    parts += ["## Example", EXAMPLES[spec.id].code(spec.id)]
    parts += ["## Arguments", argument_table(parameters(node), dict(docstring.sections.get("Args", ())))]
    if own is not None:
        _, algorithm_node = definition(own)
        meanings = _split_names(docstring_of(algorithm_node).sections["Args"])
        given = [parameter for parameter in parameters(algorithm_node) if parameter.name not in ("policy", "env")]
        parts += [f"## Hyperparameters of {algorithm}", argument_table(given, meanings)]
    parts += _sections(docstring)
    method = docstring_of(module_tree(definition(own)[0] if own else module)).text
    parts += ["## Method", markdown(method)] if len(method) > 200 else []
    return _page(parts)


def _agent_text(spec: AgentSpec) -> str:
    name, own = _algorithm(spec)
    if name is None:
        text = markdown(docstring_of(definition(spec.entry_point)[1]).description)
        return text.replace("The module says how.", "How is told below, under Method.")
    if own is not None:
        return "`agent.model` is the algorithm itself, which may be used without the agent: see docs/lookahead.md."
    link = f"https://stable-baselines3.readthedocs.io/en/master/modules/{name.lower()}.html"
    return (
        f"`hyperparameters` are the arguments of [stable-baselines3's {name}]({link}); `agent.model` is the algorithm "
        "itself. What the agent adds is told below, under Method."
    )


def _plays_games(spec: AgentSpec) -> bool:
    return any(parameter.name == "side" for parameter in parameters(definition(spec.entry_point)[1]))


def _split_names(entries: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Meanings by name, where one entry may name several arguments."""
    return {name.strip(): text for names, text in entries for name in names.split(",")}


# environments


def _builder(registration: Registration) -> ast.FunctionDef:
    """The function that builds an environment's model: the one whose docstring opens with its id."""
    for node in module_tree(f"{PACKAGE}.envs.gymnasium_envs").body:
        if isinstance(node, ast.FunctionDef) and (ast.get_docstring(node) or "").startswith(f"{registration.id}:"):
            return node
    raise LookupError(f"no function of envs/gymnasium_envs.py has a docstring that opens with {registration.id}:")


def _game(name: str) -> ast.FunctionDef:
    return cast("ast.FunctionDef", definition(f"{PACKAGE}.envs.{name}:game")[1])


def _environment_page(registration: Registration) -> str:
    node, env = _builder(registration), gym.make(registration.id)
    docstring, steps = docstring_of(node), registration.max_episode_steps
    features = gym.make(registration.id, observation="features").observation_space
    facts = [
        ("made by", f'`gymnasium.make("{registration.id}")`, `gymnasium.make_vec("{registration.id}", num_envs=64)`'),
        ("model", f"`{type(cast('Any', env.unwrapped).model).__name__}`"),
        ("actions", _space(env.action_space)),
        ("observations", _space(env.observation_space)),
        ('with `observation="features"`', _space(features)),
        ("truncated", "never: episodes end by themselves" if steps is None else f"after {steps} steps"),
        ("`reward_threshold`", "none" if registration.reward_threshold is None else f"{registration.reward_threshold}"),
        *_known(env),
        ("registered entry point", f"`{PACKAGE}.envs.gymnasium_envs:{registration.entry_point}`"),
        ("needs", "nothing beyond the core"),
    ]
    title = _titled(docstring, registration.id)
    parts = [f"# {registration.id}", inline(title), _facts(facts, "default instance"), "## Example"]
    parts += [_environment_code(registration.id, node), _environment_text(docstring.description, node)]
    return _page(parts)


def _known(env: gym.Env[Any, Any]) -> list[tuple[str, str]]:
    """The optimum and uniform play, exactly."""
    truth, model = audit(make_agent("Random-v0", env), env), cast("Any", env.unwrapped).model
    uniform = model.uniform_value if isinstance(model, LargeActionMDP) else truth.value
    kind = "within the budget" if "budget" in vars(model) else "expected return of the best policy"
    return [
        (f"optimum ({kind})", f"{_number(truth.optimal_value)}, certified to {_certified(truth.certificate.gap)}"),
        ("uniform play", _number(uniform)),
    ]


def _environment_code(env_id: str, node: ast.FunctionDef) -> str:
    seeded = any(parameter.name == "mdp_seed" for parameter in parameters(node))
    lines = ["import gymnasium as gym", "", "import lookahead_rl", ""]
    lines += [f'env = gym.make("{env_id}", mdp_seed=1)' if seeded else f'env = gym.make("{env_id}")']
    lines += ["observation, info = env.reset(seed=0)"]
    lines += ["observation, reward, terminated, truncated, info = env.step(env.action_space.sample())"]
    return _python([*lines, "print(env.unwrapped.solution().certificate.gap)"])


def _environment_text(text: str, node: ast.FunctionDef) -> str:
    """The body of an environment's docstring, its list of arguments as a table."""
    before, heading, rest = text.partition("## Arguments\n")
    bullets, _, after = rest.partition("\n\n")
    meanings: dict[str, str] = {}
    for bullet in bullets.split("\n* "):
        head, _, meaning = bullet.removeprefix("* ").partition(": ")
        meanings |= {name.partition("=")[0].strip(" `,"): meaning for name in head.split(", ")}
    return "\n\n".join([_headed(before), heading.strip(), argument_table(parameters(node), meanings), _headed(after)])


def _headed(text: str) -> str:
    """Markdown of paragraphs below headings, each heading with a line of its own."""
    return re.sub(r"^(## .*)\n(?=.)", r"\1\n\n", markdown(text.strip()), flags=re.MULTILINE)


def _game_page(env_id: str, name: str) -> str:
    node, env = _game(name), pettingzoo.make("parallel", env_id)
    docstring, truth = docstring_of(node), exploitability(env)
    spaces = [(player, env.action_space(player), env.observation_space(player)) for player in env.possible_agents]
    facts = [
        (
            "made by",
            f'`pettingzoo.make("parallel", "{env_id}")`, `"aec"`; `gymnasium.make_vec("{env_id}", num_envs=64)`',
        ),
        ("model", f"`{type(cast('Any', env.unwrapped).model).__name__}`"),
        *((f"actions of {player}", _space(actions)) for player, actions, _ in spaces),
        ("observations", _space(spaces[0][2])),
        ("truncated", f"after `max_cycles` = {MAX_CYCLES} steps"),
        ("Nash value, paid to player_0", f"{_number(truth.nash_value)}, certified to {_certified(_gap(env))}"),
        ("uniform against uniform", f"{_number(truth.value)}; best responses gain {_number(truth.gap)} together"),
        ("registered entry point", f"`{PACKAGE}.envs.{name}:parallel_env`, `:env`"),
        ("needs", "nothing beyond the core"),
    ]
    parts = [f"# {env_id}", inline(docstring.summary), _facts(facts, "default instance"), "## Example"]
    parts += [_game_code(env_id), _headed(docstring.description)]
    given = parameters(node)
    if given:
        parts += ["## Arguments", argument_table(given, dict(docstring.sections.get("Args", ())))]
    return _page(parts)


def _gap(env: Any) -> float:
    return float(env.unwrapped.solution().certificate.gap)


def _game_code(env_id: str) -> str:
    lines = ["import pettingzoo", "", "import lookahead_rl", "from lookahead_rl.evaluation import exploitability", ""]
    lines += [f'game = pettingzoo.make("parallel", "{env_id}")', "observations, infos = game.reset(seed=0)"]
    lines += ["actions = {player: 0 for player in game.agents}", "observations, rewards, *_ = game.step(actions)"]
    return _python([*lines, "print(exploitability(game))  # of uniform play against itself"])


# commands and index


def _commands_page() -> str:
    from .cli import COMMANDS, command_class

    parts = [
        "# Commands",
        "`lookahead-rl COMMAND --help` shows the same on the terminal. Every command ends with status",
    ]
    parts[-1] += " 2 and one line where something can be mended: an unknown name, a missing extra, a broken file."
    for name in COMMANDS:
        parts += [f"## lookahead-rl {name}", *_command_parts(command_class(name))]
    parts += ["## python -m lookahead_rl.scripts.reference", *_command_parts(Reference)]
    parts += [
        "## python -m lookahead_rl.scripts.zoo",
        _headed(docstring_of(module_tree(f"{PACKAGE}.scripts.zoo")).text),
    ]
    return _page(parts)


def _command_parts(command: Any) -> list[str]:
    known: dict[str, tuple[Parameter, str]] = {}
    for parent in reversed(command.__mro__[:-1]):
        known |= field_docstrings(cast("ast.ClassDef", definition(_entry_point(parent))[1]))
    rows = [_option(*known[item.name]) for item in fields(command)]
    text = docstring_of(definition(_entry_point(command))[1]).text
    return [markdown(text), table(("option", "type", "default", "meaning"), rows)]


def _entry_point(command: type) -> str:
    """Where a command is defined; this module is ``__main__`` while it runs."""
    module = f"{PACKAGE}.scripts.reference" if command.__module__ == "__main__" else command.__module__
    return f"{module}:{command.__name__}"


def _option(parameter: Parameter, text: str) -> list[str]:
    positional = re.fullmatch(r"Annotated\[(.*), [\w.]*Positional\]|[\w.]*Positional\[(.*)\]", parameter.annotation)
    annotation = (positional[1] or positional[2]) if positional else parameter.annotation
    name = parameter.name.upper() if positional else f"--{parameter.name.replace('_', '-')}"
    default = "required" if parameter.default is None else code_cell(parameter.default)
    return [f"`{name}`", code_cell(annotation), default, cell(text)]


def _index(agents: Mapping[str, str], environments: Mapping[str, str]) -> str:
    rows = [[f"[{name}](agents/{name}.md)", cell(text)] for name, text in agents.items()]
    places = [[f"[{name}](environments/{_file_name(name)}.md)", cell(text)] for name, text in environments.items()]
    return _page(
        [
            "# Reference",
            "One page for each agent and each environment, and one for the [commands](commands.md); written by "
            "`python -m lookahead_rl.scripts.reference` from the docstrings.",
            "## Environments",
            table(("environment", "what it is"), places),
            'All environments take `observation` (`"state"` or `"features"`) and `render_mode` (None, `"ansi"`, '
            '`"rgb_array"`; games `"human"` too); vector environments `max_episode_steps` and `autoreset_mode`, games '
            "`max_cycles`. `env.unwrapped` has `model`, `simulator`, `solution()` and `observe(states)`.",
            "## Agents",
            table(("agent", "what it does"), rows),
            "All agents have `learn(total_timesteps, callback, progress_bar)`, `predict(observation, state, "
            "episode_start, deterministic)`, `action_probabilities(observations)`, `save(path)` and `load(path, env)`; "
            "`lookahead_rl.agents.load_agent(path, env)` reads a file of any of them.",
        ]
    )


# pieces


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _python(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


def _facts(facts: Sequence[tuple[str, str]], title: str = "") -> str:
    return table((title, ""), facts)


def _sections(docstring: Docstring) -> list[str]:
    parts: list[str] = []
    for section, heading in (("Attributes", "## Attributes"), ("Raises", "## Errors")):
        if section in docstring.sections:
            parts += [heading, entry_list(docstring.sections[section])]
    return parts


def _titled(docstring: Docstring, env_id: str) -> str:
    """A summary without the id before it, beginning with a capital letter."""
    text = docstring.summary.removeprefix(f"{env_id}: ")
    return text[0].upper() + text[1:]


def _file_name(env_id: str) -> str:
    return env_id.rpartition("/")[2]


def _source(module: str) -> str:
    return module_path(module).relative_to(ROOT).as_posix()


def _space(space: gym.Space[Any]) -> str:
    """A space in one line."""
    if isinstance(space, gym.spaces.Box) and (np.ptp(space.low) or np.ptp(space.high)):
        bounds = f"between {space.low.min():.3g} and {space.high.max():.3g}, bounds differing by entry"
        return f"`Box` of shape {space.shape}, {space.dtype}, {bounds}"
    return code_cell(str(space))


def _number(value: float) -> str:
    return "0" if abs(value) < 1e-8 else f"{value:.5g}"


def _certified(gap: float) -> str:
    """The least of a few powers of ten that is certain to hold on every machine."""
    return next(text for bound, text in ((1e-8, "1e-8"), (1e-6, "1e-6"), (1e-3, "1e-3")) if gap < bound)


def main(args: Sequence[str] | None = None) -> None:
    """Write the pages."""
    tyro.cli(Reference, prog="python -m lookahead_rl.scripts.reference", args=args).run()


if __name__ == "__main__":
    main()
