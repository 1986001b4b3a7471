# Everything lives in .venv, which the first target that needs it makes. A stamp there says which packages are complete.

.PHONY: help demo test test-all lint bench reference setup pins clean
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Neither pyright nor pip shall ask the network for newer versions of themselves.
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
unexport PYTHONPATH PYTHONHOME

PY := .venv/bin/python

help:
	@echo 'make demo      solve, train and audit on FrozenLake, Taxi, a linear MDP and a Markov game; writes a report'
	@echo 'make test      lint, then every test that is not marked slow'
	@echo 'make test-all  lint, then every test'
	@echo 'make lint      ruff check, ruff format --check, pyright'
	@echo 'make bench     the benchmarks, of the comparison with PPO a short form'
	@echo 'make reference write docs/reference anew from docstrings'
	@echo 'make setup     only make .venv with everything that development needs'
	@echo 'make pins      write constraints.txt anew from the newest versions'
	@echo 'make clean     remove .venv and all that was built'
	@echo 'PYTHON=/path/to/python3 chooses the interpreter of a new .venv; ARGS="..." is passed on to demo and to pytest'

demo: .venv/demo.stamp
	.venv/bin/lookahead-rl demo $(ARGS)

test: lint
	$(PY) -m pytest -n 2 $(ARGS)

test-all: lint
	$(PY) -m pytest -n 2 -m '' $(ARGS)

lint: .venv/dev.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright --project pyproject.toml

bench: .venv/dev.stamp
	@for file in $(filter-out benchmarks/_% benchmarks/lookahead%,$(wildcard benchmarks/*.py)); do \
		echo "$$file"; $(PY) "$$file" || exit 1; \
	done
	$(PY) -m benchmarks.lookahead --quick

reference: .venv/dev.stamp
	$(PY) -m lookahead_rl.scripts.reference

setup: .venv/dev.stamp

# By the oldest Python, so that the pins exist for all of them. torch keeps its pin until someone raises it by hand: it
# outweighs all the rest together, and brings CUDA packages that it pins itself. A local tag (2.13.0+cpu) is cut off, so
# that any index's build satisfies the pin.
pins: PYTHON := python3.11
pins:
	@$(find_python); "$$found" -m venv --clear .venv/pins
	.venv/pins/bin/python -m pip install --quiet --editable '.[deep,report,experiments,dev]' "$$(grep '^torch==' constraints.txt)"
	{ sed '/^[^#]/,$$d' constraints.txt; .venv/pins/bin/python -m pip freeze --all --exclude-editable --exclude pip | \
		sed -e '/^nvidia-/d; /^cuda-/d; /^triton=/d; s/+.*//'; } >constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv/pins

clean:
	rm -rf .venv build dist ./*.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Neither a move of this folder nor the loss of its Python leaves a virtual environment in order: make it anew. A stamp
# holds the folder it was written in.
ifneq ($(wildcard .venv/*.stamp),)
ifneq ($(shell cat .venv/*.stamp | sort -u; $(PY) -c '' 2>&1 || echo broken),$(CURDIR))
$(shell rm -rf .venv)
endif
endif

define find_python
found= tried=; \
for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11); do \
	if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null; then \
		found=$$candidate; break; \
	fi; \
	tried="$$tried$${tried:+, }$$candidate ($$("$$candidate" --version 2>/dev/null || echo absent))"; \
done; \
if [ -z "$$found" ]; then \
	echo "make: no Python from 3.11 to 3.14 found; tried $$tried." >&2; \
	echo '      Install one (Debian, Ubuntu: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3' >&2; \
	exit 1; \
fi; \
if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	echo "make: $$found cannot make virtual environments: its modules venv and ensurepip are missing." >&2; \
	echo '      Install them (Debian, Ubuntu: apt install python3-venv) or name another: make PYTHON=/path/to/python3' >&2; \
	exit 1; \
fi
endef

# pip writes a distribution's RECORD last, so one without it was cut short (its files is then None).
VENV_IN_ORDER := import importlib.metadata as m, pip, sys; \
	sys.exit(sys.version_info < (3, 11) or any(d.files is None for d in m.distributions()))

define make_venv
if ! $(PY) -I -c '$(VENV_IN_ORDER)' 2>/dev/null; then \
	$(find_python); \
	echo "Making .venv with $$("$$found" --version)"; \
	"$$found" -m venv --clear .venv || exit 1; \
fi
endef

# The stamps go before pip starts and come back when it has succeeded. setuptools is pinned like everything else, so
# the package is built with it instead of with whatever a build of its own would fetch.
define install
@$(make_venv)
@rm -f .venv/*.stamp
@echo 'Installing lookahead-rl with $(EXTRAS) into .venv; progress is in .venv/install.log. The first time this'
@echo 'downloads some 500 MB in a minute or two (gigabytes where pip finds only torch with CUDA, see README.md).'
@PIP='$(PY) -m pip install --progress-bar off --constraint constraints.txt'; \
if ! { $$PIP setuptools && $$PIP --no-build-isolation --editable '.[$(EXTRAS)]'; } >.venv/install.log 2>&1; then \
	tail -n 20 .venv/install.log >&2; \
	echo 'make: pip could not install the packages; its last lines stand above, all of them in .venv/install.log.' >&2; \
	echo '      "from versions: none" or connection errors mean that it reached no package index: check the network,' >&2; \
	echo '      or name one that can be reached in PIP_INDEX_URL or PIP_FIND_LINKS. Then run the same command again.' >&2; \
	exit 1; \
fi
endef

.venv/demo.stamp: EXTRAS := deep,report,experiments
.venv/demo.stamp: pyproject.toml constraints.txt
	$(install)
	@pwd -P >$@

# Holds all that demo.stamp stands for.
.venv/dev.stamp: EXTRAS := deep,report,experiments,dev
.venv/dev.stamp: pyproject.toml constraints.txt
	$(install)
	@pwd -P | tee .venv/demo.stamp >$@
