# The two commands of the README are `make demo` and `make test`. Everything makes .venv by itself, once.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
BIN := .venv/bin
INSTALLED := .venv/.installed
PEERS := .venv/.installed-peers
DOCS := .venv/.installed-docs

.PHONY: demo docs results test test-edge test-wheel venv lint format types clean

demo: $(INSTALLED)  ## train, compress, export, measure: runs/demo/
	$(BIN)/edgedqn run CartPole-v1 --out runs/demo

# The documentation, for a browser: build/site/index.html. Without a network; a broken link ends it.
docs: $(DOCS)
	$(BIN)/python docs/build.py

# What docs/results/ holds of the README's policies. About a day of one core; goes on where it stopped, in runs/.
results: $(INSTALLED)
	for script in policies microcontroller cores uno plain_c fit npu compression distillation_ablation precisions compression_page; do \
		$(BIN)/python docs/results/$$script.py || exit 1; done

# Files in the order of their names: those with the most tests first, the notebooks would come last, on one core.
test: $(INSTALLED)
	$(BIN)/python -m pytest -q --numprocesses auto --dist loadfile --no-loadscope-reorder

# The devices of a bundle, emulated: an aarch64 board under QEMU, a browser. What is absent is skipped, and named.
# Screenshots are left in build/device-lab/.
test-edge: $(INSTALLED)
	$(BIN)/python tests/export/device_lab/unpack_aarch64.py build/aarch64
	$(BIN)/python -m pytest -q -rs tests/export/device_lab

# What users install: the wheel, by pip, in an empty environment, and from a folder where the checkout is not on the path. Every
# module is imported, and the example does the main job. simpy is for benchmarks/scaling.py alone.
test-wheel: $(INSTALLED)
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build --wheel --no-isolation --outdir build/wheel . > build/wheel/log
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --constraint requirements.lock \
		"$$(echo build/wheel/*.whl)[train,sweep,box2d,minatar,render]" pytest simpy
	cp -r tests examples pyproject.toml build/wheel/
	cd build/wheel && venv/bin/python -m pytest -q -c pyproject.toml --rootdir . tests/test_house.py tests/api tests/examples

venv: $(INSTALLED) $(PEERS) $(DOCS)  ## all that tests and the tables of docs/ need

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED) .types/edgedqn
	$(BIN)/mypy

clean:
	rm -rf .venv .types build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "EdgeDQN needs Python 3.11, 3.12 or 3.13; set PYTHON. Got: $$($(PYTHON) --version)"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# With its dependencies, because PyPI's PyTorch for Linux brings CUDA along, several GB, and does not load without. Its makers'
# own index has a CPU build: where pip is pointed at that, nothing else is needed.
$(PEERS): requirements-peers.lock $(INSTALLED)
	$(BIN)/python -m pip install --quiet -r requirements-peers.lock -c requirements.lock
	@$(BIN)/python -c 'import huggingface_hub, kconfcheck, kconfiglib, idf_component_manager, onnx, onnxruntime, onnxscript, platformio, stable_baselines3, torch' 2> /dev/null  # an install that was broken off leaves no stamp
	@touch $@

$(DOCS): requirements-docs.lock $(INSTALLED)
	$(BIN)/python -m pip install --quiet --no-deps -r requirements-docs.lock
	@touch $@

# Editors and the type checker see the mapped packages under their real names: a folder of links, `api/` being `edgedqn` itself.
.types/edgedqn: Makefile
	rm -rf .types && mkdir -p $@
	ln -s ../../api/__init__.py ../../api/py.typed $@/
	ln -s ../../agents ../../compression ../../export ../../benchmarks ../../pipeline $@/
