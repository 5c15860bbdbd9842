# Every target sets up what it needs: `make reproduce` works in a fresh clone.
# PYTHON=/path/to/python3.12 chooses the interpreter, ARGS="..." is passed on to the program that a target starts.

PROFILE ?= quick
BENCH ?= simulation
RUN = .venv/bin/python -m ssagrad
.DEFAULT_GOAL := help
.PHONY: help setup reproduce test lab check sync bench lock clean

# The environment in .venv stands alone, whatever is set or activated outside.
unexport PYTHONPATH PYTHONHOME MPLBACKEND VIRTUAL_ENV CONDA_PREFIX PIP_USER PIP_TARGET PIP_PREFIX UV_SYSTEM_PYTHON
export PYTHON SETUP

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: ## Install everything into .venv (the first call takes a minute, later ones nothing)
	@sh -eu -c "$$SETUP"

reproduce: setup ## Run all notebooks: figures, numbers, claims (PROFILE=paper: the committed results, about two hours)
	@$(RUN) run --profile $(PROFILE) $(ARGS)

test: setup ## Run all tests, and all notebooks in the quick profile
	@.venv/bin/python -m pytest tests notebooks --nbval --nbval-current-env --nbval-cell-timeout=300 $(ARGS)

lab: setup ## Open the notebooks in JupyterLab, .py and .ipynb paired
	@PATH="$(CURDIR)/.venv/bin:$$PATH" JUPYTER_CONFIG_PATH="$(CURDIR)/jupyter" \
	  .venv/bin/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks $(ARGS)

check: setup ## Say which results are older than what they were made from
	@$(RUN) check

sync: setup ## Make the .ipynb twins of notebooks/*.py
	@$(RUN) sync

bench: setup ## Measure speed beside peers, which get an environment of their own (BENCH=gradients: cost of gradients)
	@[ -x .venv-bench/bin/python ] || .venv/bin/python -m venv .venv-bench
	@.venv/bin/python -m uv pip install --quiet --python .venv-bench/bin/python --constraint requirements.lock --editable '.[bench]' || \
	  .venv-bench/bin/python -m pip install --quiet --constraint requirements.lock --editable '.[bench]' || \
	  .venv-bench/bin/python -m pip install --quiet --constraint requirements.lock --editable .
	@.venv-bench/bin/python benchmarks/$(BENCH).py $(ARGS)

lock: setup ## Renew requirements.lock from the ranges in pyproject.toml
	@.venv/bin/python -m uv pip compile pyproject.toml --extra all --universal --python-version 3.11 \
	  --upgrade --no-header --no-annotate --quiet --output-file requirements.lock

clean: ## Remove all that git ignores: .venv, caches, quick and custom results
	@rm -rf .venv .venv-bench .cache .runs figures/quick figures/custom reports/quick reports/custom
	@find lib tests notebooks benchmarks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# .venv/ready holds the folder and the checksum of what is installed: a moved, half-made or outdated .venv is repaired.
define SETUP
fail() { echo "$$*" >&2; exit 1; }
another="or name another one: make setup PYTHON=/path/to/python3.12"
facts='import sys; print(sys.base_prefix, *sys.version_info[:3])'
works='from importlib.util import find_spec; import sys; sys.exit(not (find_spec("ssagrad") and find_spec("pytest")))'
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
content="$$(cat requirements.lock pyproject.toml | cksum)"
ready="$$(cat .venv/ready 2>/dev/null || true)"

wanted() { [ -z "$$PYTHON" ] || [ "$$("$$PYTHON" -c "$$facts" 2>/dev/null)" = "$$(.venv/bin/python -c "$$facts")" ]; }
if .venv/bin/python -c "$$works" 2>/dev/null && wanted; then
  [ "$$ready" = "$$(pwd) $$content" ] && exit 0
else
  ready=""
fi

python=""
seen=""
for candidate in "$${PYTHON:-python3}" $$([ -n "$$PYTHON" ] || echo python3.13 python3.12 python3.11); do
  version="$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" || continue
  seen="$${seen:-$$candidate is $$version}"
  if "$$candidate" -c "$$fits"; then python="$$candidate"; break; fi
done
[ -n "$$python" ] || fail "ssagrad needs Python 3.11, 3.12 or 3.13, but $${seen:-there is no $${PYTHON:-python3}} here: install one," "$$another"
"$$python" -c 'import venv, ensurepip' 2>/dev/null || fail "Python $$version ($$python) has no venv module: install it" \
  "(Debian, Ubuntu: apt install python$$version-venv)," "$$another"

case "$$ready" in
  "$$(pwd) "*) echo "Updating .venv ..." ;;
  *) echo "Setting up .venv with Python $$version ..."; rm -rf .venv; "$$python" -m venv .venv || { rm -rf .venv; fail "Could not make .venv."; } ;;
esac
rm -f .venv/ready
pip() { .venv/bin/python -m pip "$$@" --quiet --disable-pip-version-check; }
uv() { .venv/bin/python -m uv pip install --quiet --python .venv/bin/python "$$@" 2>/dev/null; }
mirror="$${PIP_INDEX_URL:-$$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}"
[ -z "$$mirror" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$$mirror}"
pip install "$$(grep '^uv==' requirements.lock)" || echo "No uv here: going on with pip, which takes longer." >&2
uv -r requirements.lock || pip install -r requirements.lock ||
  fail "Could not install the packages (see above): is a package index reachable? The next call tries again."
uv --no-deps --no-build-isolation --editable . || pip install --no-deps --no-build-isolation --editable . ||
  fail "Could not install ssagrad itself into .venv (see above)."
echo "$$(pwd) $$content" > .venv/ready
endef
