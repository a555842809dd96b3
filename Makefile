# headnode: every command a developer or a newcomer needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
JOBS_VENV := .venv-jobs
PIP_INSTALL = $(shell command -v uv >/dev/null 2>&1 && echo "uv pip install -q --python $(1)/bin/python" || echo "$(1)/bin/python -m pip install -q --disable-pip-version-check")

SYSTEM_PACKAGES := slurmctld slurmd slurm-client slurmdbd munge openssh-server openssh-client mariadb-server rsync python3-venv
BROWSER_PACKAGES := chromium

.DEFAULT_GOAL := help
.PHONY: help packages demo stop browser test lint bench clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

packages:  ## install Debian's Slurm, MariaDB and OpenSSH (asks for sudo where needed)
	@missing=$$(for p in $(SYSTEM_PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing" $$missing; $(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; fi

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "building the Airflow environment in $(VENV)"
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check 'pip>=25.1'  # knows --group; Debian 12's does not
	@$(call PIP_INSTALL,$(VENV)) -c constraints.txt -e . --group dev
	@touch $@

$(JOBS_VENV)/.installed: dags/landcover/requirements.lock
	@echo "building the jobs' environment in $(JOBS_VENV)"
	@test -x $(JOBS_VENV)/bin/python || $(PYTHON) -m venv $(JOBS_VENV)
	@export UV_FIND_LINKS="$${UV_FIND_LINKS-$$PIP_FIND_LINKS}"; $(call PIP_INSTALL,$(JOBS_VENV)) -r $<
	@touch $@

demo: packages  ## make a land-cover map by jobs of a private Slurm cluster, and show it in Airflow
	@$(MAKE) -s -j2 $(VENV)/.installed $(JOBS_VENV)/.installed
	@$(VENV)/bin/python -m demo up $(if $(YEAR),--year $(YEAR))

stop:  ## end everything that `make demo` started
	@if [ -d .demo ]; then $(VENV)/bin/python -m demo stop; else echo "nothing to stop"; fi

test: packages browser  ## run every test, on real parts
	@$(MAKE) -s -j2 $(VENV)/.installed $(JOBS_VENV)/.tested
	$(JOBS_VENV)/bin/python -m pytest -c tests/jobs/pytest.ini tests/jobs
	$(VENV)/bin/python -m pytest

$(JOBS_VENV)/.tested: $(JOBS_VENV)/.installed tests/jobs/requirements.txt
	@$(call PIP_INSTALL,$(JOBS_VENV)) -r tests/jobs/requirements.txt
	@touch $@

browser:
	@command -v chromium >/dev/null 2>&1 || { $(SUDO) apt-get update -qq && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(BROWSER_PACKAGES) >/dev/null; }

lint: $(VENV)/.installed  ## style, types and the layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: packages $(VENV)/.installed  ## measure, side by side with what it is compared to
	$(VENV)/bin/python -m bench.many_jobs

clean:  ## remove what was built here
	rm -rf $(VENV) $(JOBS_VENV) .demo dist .pytest_cache .mypy_cache .ruff_cache
