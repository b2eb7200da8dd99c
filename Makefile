# Two commands are enough: `make lab` to read and work, `make test` to check everything.

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
LAB_ARGS ?=
SECONDS ?= 60
APP_ARGS ?=
ARGS ?=

STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

# What make test, make notebooks and CI run with; a notebook's committed outputs are made with these too.
QUICK := COLORLIB_RUN=quick TQDM_DISABLE=1

.DEFAULT_GOAL := help
.PHONY: help lab app test lint notebooks experiments bench fuzz clean

help:
	@echo "make lab          open the series in JupyterLab (the first time, it makes $(VENV))"
	@echo "make app          color photos in a page without code, on http://127.0.0.1:8866"
	@echo "make test         unit tests, every notebook, browser tests"
	@echo "make lint         check the style of code and notebooks with ruff"
	@echo "make notebooks    run the notebooks again and store their outputs; ARGS=\"03 04\" for some"
	@echo "make experiments  run the chapters' side experiments again; ARGS=\"...\" is handed on"
	@echo "make bench        measure speed"
	@echo "make fuzz         read random image files for a minute, or SECONDS=3600"
	@echo "make clean        delete caches; the environment and data/ stay"
	@echo
	@echo "Variables: PYTHON=python3.12 (3.11, 3.12 or 3.13), VENV=folder, LAB_ARGS=\"--port 9999\", APP_ARGS the same,"
	@echo "TORCH_INDEX=url takes torch and torchvision from that package index, as for CPU-only builds."

# The stamp is written last, so an interrupted installation is done again: in an emptied environment, because
# the old one may hold half-written files. Without PYTHON=, an environment that exists keeps its Python.
$(STAMP): pyproject.toml constraints.txt
	@set -e; \
	python="$(PYTHON)"; \
	if [ "$(origin PYTHON)" = file ] && [ -x "$(BIN)/python" ] && [ ! -e "$(VENV)/.installing" ]; then \
	    python="$(BIN)/python"; \
	fi; \
	other="3.11, 3.12 or 3.13; name one as in: make lab PYTHON=python3.12"; \
	if ! command -v "$$python" >/dev/null 2>&1; then \
	    echo "There is no '$$python' here, and colorlib needs Python $$other" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    echo "'$$python' is $$("$$python" -V 2>&1 | head -n 1), and colorlib needs Python $$other" >&2; exit 1; \
	fi; \
	minor='import sys; print(sys.version_info[:2])'; \
	if [ ! -e "$(BIN)/python" ] || [ -e "$(VENV)/.installing" ]; then what=new; \
	elif [ "$$("$(BIN)/python" -c "$$minor" 2>&1)" != "$$("$$python" -c "$$minor")" ]; then what=new; \
	else what=old; fi; \
	if [ $$what = new ]; then \
	    clear=; \
	    if [ -e "$(VENV)/pyvenv.cfg" ]; then clear=--clear; \
	    elif [ -n "$$(ls -A "$(VENV)" 2>/dev/null)" ]; then \
	        echo "$(VENV) holds other files: give VENV= a folder of its own" >&2; exit 1; \
	    fi; \
	    echo "Making the Python environment in $(VENV), once: about 3 minutes (5 on 2 slow cores), and about 6.5 GB of disk"; \
	    echo "(about 1.5 GB where TORCH_INDEX names an index of CPU-only builds)."; \
	    "$$python" -m venv $$clear "$(VENV)"; : > "$(VENV)/.installing"; \
	else \
	    echo "Bringing the Python environment in $(VENV) up to date: at most a few minutes."; \
	fi; \
	log="$(VENV)/install.log"; : > "$$log"; \
	pip() { \
	    "$(BIN)/python" -m pip --disable-pip-version-check install --progress-bar off -c constraints.txt "$$@" >> "$$log" 2>&1 \
	    || { echo; tail -n 30 "$$log"; echo "The installation failed; the whole log is $$log."; return 1; } >&2; \
	}; \
	( while sleep 5; do printf .; done ) & dots=$$!; \
	trap 'kill $$dots 2>/dev/null || :' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	if [ -n "$(TORCH_INDEX)" ]; then \
	    printf 'torch and torchvision, from TORCH_INDEX '; \
	    pip --no-deps --index-url "$(TORCH_INDEX)" torch torchvision; echo " done"; \
	fi; \
	printf 'colorlib and what it needs '; \
	pip -e ".[all,test]"; echo " done"; \
	rm -f "$(VENV)/.installing"; \
	touch "$@"

lab: $(STAMP)
	@set -e; \
	first=notebooks/00_first_photo.ipynb; \
	if [ ! -e $$first ]; then first=$$(ls notebooks/*.ipynb 2>/dev/null | head -n 1); fi; \
	set -- --config=notebooks/jupyter_server_config.py; \
	if [ "$$(id -u)" -eq 0 ]; then set -- "$$@" --allow-root; fi; \
	case "$$(uname -s)" in \
	    Linux|*BSD) if [ -z "$$DISPLAY$$WAYLAND_DISPLAY$$BROWSER$$WSL_DISTRO_NAME" ]; then \
	        echo "No browser here: open the address below in one of yours."; set -- "$$@" --no-browser; \
	    fi ;; \
	esac; \
	exec "$(BIN)/python" -m jupyterlab "$$@" --LabApp.default_url="/lab/tree/$$first" $(LAB_ARGS)

# Every visitor gets a kernel of their own. voila.json, which Voila reads from here, says when an abandoned one ends.
app: $(STAMP)
	@set -e; set --; \
	case "$$(uname -s)" in \
	    Linux|*BSD) if [ -z "$$DISPLAY$$WAYLAND_DISPLAY$$BROWSER$$WSL_DISTRO_NAME" ]; then \
	        echo "No browser here: open the address below in one of yours."; set -- --no-browser; \
	    fi ;; \
	esac; \
	exec "$(BIN)/python" -m voila notebooks/app.ipynb --Voila.ip=127.0.0.1 "$$@" $(APP_ARGS)

test: $(STAMP)
	"$(BIN)/python" -m pytest tests
	$(QUICK) "$(BIN)/python" -m pytest --nbval --nbval-current-env --nbval-cell-timeout 1200 \
	    --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks
	"$(BIN)/python" -m pytest -rs tests/browser

lint: $(STAMP)
	"$(BIN)/python" -m ruff check
	"$(BIN)/python" -m ruff format --check

notebooks: $(STAMP)
	"$(BIN)/python" tools/run_notebooks.py $(ARGS)

experiments: $(STAMP)
	"$(BIN)/python" -m colorlib.lessons.experiments $(ARGS)

bench: $(STAMP)
	"$(BIN)/python" -m pytest -s tests/benchmarks $(ARGS)

fuzz: $(STAMP)
	"$(BIN)/python" tools/fuzz_images.py --seconds $(SECONDS) $(ARGS)

clean:
	rm -rf .pytest_cache .ruff_cache build dist .coverage .coverage.*
	find . -name .venv -prune -o \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +
	@echo "Kept: $(VENV) (delete it to start over) and data/."
