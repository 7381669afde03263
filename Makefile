# `make app` starts Anchorscope, `make test` checks it, `make check` does what takes no minute of that; each sets up what
# it needs first.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8501
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)

.PHONY: app test check lint

app: $(VENV)/installed
	$(BIN)/python -m streamlit run streamlit_app.py --server.port $(PORT)

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadscope --maxprocesses 2 --max-worker-restart 1

check: lint
	$(BIN)/python -m pytest -n 2 --maxprocesses 2 -m "not long and not browser"

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

$(VENV)/python-found:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Anchorscope needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed: requirements.txt | $(VENV)/python-found
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
