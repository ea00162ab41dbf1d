# `make book` builds the book, `make test` runs every test. Both make the environment in .venv/ first.

PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
export TF_CPP_MIN_LOG_LEVEL = 3

.PHONY: book pdf test quick lowest notebooks serve bench clean

book: .venv/book.stamp
	$(BIN)/jupyter-book build . --quiet -W -n --keep-going
	@echo "Open $(CURDIR)/_build/html/index.html"

# The book in one file. Chromium or Chrome prints it.
pdf: book .venv/test.stamp
	$(BIN)/python book/_tools/pdf.py

test: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest --numprocesses 2 --dist loadfile --durations 15 \
		--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg tests book

# While writing: lint, library, equations and the changed chapters. What takes long is left to `make test`.
quick: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not slow" \
		--nbval --nbval-current-env --nbval-sanitize-with tests/nbval_sanitize.cfg \
		tests $$($(BIN)/python book/_tools/notebooks.py --changed)

# The library with the lowest versions that pyproject.toml allows, in an environment of its own. Python 3.11.
lowest:
	$(PYTHON) -m venv .venv/lowest
	.venv/lowest/bin/pip install --quiet --disable-pip-version-check --no-compile \
		--constraint tests/lowest.txt --editable .[tf,test]
	.venv/lowest/bin/pytest -m "not slow" tests/data tests/faults \
		$(addprefix tests/test_,$(addsuffix .py,checkpoints config diffusion evaluation exact explorer images \
		precision sampling schedules training unet))

# Write the notebooks anew: chapters whose code changed are executed; ALL=1 executes every chapter.
notebooks: .venv/book.stamp
	$(BIN)/python book/_tools/notebooks.py $(if $(ALL),--all)

serve: book
	$(BIN)/python -m http.server --directory _build/html 8000

bench: .venv/test.stamp
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf _build .venv

# The environment is installed again when the project's requirements change.
.venv/book.stamp: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable ".[tf,book]"
	touch $@

# PyTorch is installed only where pip finds a wheel of it without an index (a folder named in PIP_FIND_LINKS):
# what an index offers for Linux brings gigabytes of CUDA. Without PyTorch its tests are skipped, by name.
.venv/test.stamp: .venv/book.stamp
	$(INSTALL) --editable ".[tf,book,jax,test]"
	if $(BIN)/pip download --quiet --no-index --no-deps --dest .venv/wheels torch 2> /dev/null; \
	then $(INSTALL) .venv/wheels/torch-*.whl; fi
	touch $@
