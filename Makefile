# headnode: every command a developer or a newcomer needs. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
JOBS_VENV := .venv-jobs
FRAMEWORKS_VENV := .venv-frameworks
PIP_INSTALL = $(shell command -v uv >/dev/null 2>&1 && echo "uv pip install -q --python $(1)/bin/python" || echo "$(1)/bin/python -m pip install -q --disable-pip-version-check")

SYSTEM_PACKAGES := slurmctld slurmd slurm-client slurmdbd munge openssh-server openssh-client mariadb-server rsync python3-venv
SSH_PACKAGES := libpam-google-authenticator
BROWSER_PACKAGES := chromium
CHAOS_PACKAGES := faketime
SCRIPT_PACKAGES := shellcheck lmod

define MAKE_VENV
test -x $(1)/bin/python || { $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
{ echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.11 ..." >&2; exit 1; }; \
$(PYTHON) -m venv $(1); }
endef

define INSTALL_PACKAGES
missing=$$(for p in $(1); do [ "$$(dpkg-query -Wf '$${db:Status-Status}' $$p 2>/dev/null)" = installed ] || echo $$p; done | xargs); \
if [ -n "$$missing" ]; then echo "installing $$missing"; \
{ $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive \
apt-get install -qq -y --no-install-recommends $$missing >/dev/null; } || \
{ echo "These Debian packages are needed and could not be installed: $$missing" >&2; \
echo "Have them installed by whoever administers this machine, or use containers: make up" >&2; exit 1; }; fi
endef

.DEFAULT_GOAL := help
.PHONY: help packages environments demo stop up down browser faults test test-jobs chaos lint bench bench-landcover bench-landcover-scale clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

packages:  ## install Debian's Slurm, MariaDB and OpenSSH (asks for sudo where needed)
	@$(call INSTALL_PACKAGES,$(SYSTEM_PACKAGES))

$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "building the Airflow environment in $(VENV)"
	@$(call MAKE_VENV,$(VENV))
	@$(call PIP_INSTALL,$(VENV)) -c constraints.txt -e .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@echo "adding what tests need to $(VENV)"
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check 'pip>=25.1'  # knows --group; Debian 12's does not
	@$(call PIP_INSTALL,$(VENV)) -c constraints.txt --group dev
	@touch $@

$(JOBS_VENV)/.installed: dags/landcover/requirements.lock
	@echo "building the jobs' environment in $(JOBS_VENV)"
	@$(call MAKE_VENV,$(JOBS_VENV))
	@export UV_FIND_LINKS="$${UV_FIND_LINKS-$$PIP_FIND_LINKS}"; $(call PIP_INSTALL,$(JOBS_VENV)) -r $<
	@touch $@

demo: packages  ## make land-cover maps of three years by jobs of a private Slurm cluster, and show them in Airflow
	@$(MAKE) -s -j2 $(VENV)/.installed $(JOBS_VENV)/.installed
	@$(VENV)/bin/python -m demo up $(if $(YEARS),--years "$(YEARS)")

stop:  ## end everything that `make demo` started
	@if [ -d .demo ]; then $(VENV)/bin/python -m demo stop; else echo "nothing to stop"; fi

up:  ## the same in containers: Airflow, its database and a Slurm cluster, by Docker or podman
	@docker/up $(if $(YEARS),"$(YEARS)")

down:  ## end the containers of `make up`; what they stored stays
	@docker/up --down

environments: packages browser faults  ## install all that demonstration and tests need
	@$(MAKE) -s -j2 $(VENV)/.tested $(JOBS_VENV)/.tested

test: environments  ## run every test, on real parts
	@# What runs on clusters is tested beside the rest, in its own environment, and told of at the end;
	@# TEST_JOBS=no is for who runs `make test-jobs` besides.
	@if [ "$(TEST_JOBS)" != no ]; then $(MAKE) -s test-jobs > .jobs-tests.log 2>&1 & jobs=$$!; fi; \
	trap '[ -z "$$jobs" ] || kill $$jobs 2>/dev/null' EXIT; \
	code=0; $(VENV)/bin/python -m pytest -n 4 || code=$$?; \
	[ -z "$$jobs" ] || { wait $$jobs || code=$$?; cat .jobs-tests.log; rm -f .jobs-tests.log; }; exit $$code

test-jobs: $(JOBS_VENV)/.tested  ## run the tests of what runs on clusters alone
	@$(JOBS_VENV)/bin/python -m pytest -c tests/jobs/pytest.ini tests/jobs

$(JOBS_VENV)/.tested: $(JOBS_VENV)/.installed tests/jobs/requirements.txt
	@$(call PIP_INSTALL,$(JOBS_VENV)) -r tests/jobs/requirements.txt
	@touch $@

browser:
	@$(call INSTALL_PACKAGES,$(BROWSER_PACKAGES))

faults:
	@$(call INSTALL_PACKAGES,$(CHAOS_PACKAGES) $(SSH_PACKAGES) $(SCRIPT_PACKAGES))

frameworks: packages $(VENV)/.tested $(FRAMEWORKS_VENV)/.installed  ## train and search with every framework over two nodes
	$(VENV)/bin/python -m pytest tests/frameworks

$(FRAMEWORKS_VENV)/.installed: tests/frameworks/requirements.lock $(JOBS_VENV)/.installed
	@echo "building the frameworks' environment in $(FRAMEWORKS_VENV), on top of $(JOBS_VENV)"
	@$(call MAKE_VENV,$(FRAMEWORKS_VENV))
	@for place in $(FRAMEWORKS_VENV)/lib/python3.*/site-packages; do \
	    realpath $(JOBS_VENV)/lib/python3.*/site-packages > $$place/jobs.pth; done
	@$(call PIP_INSTALL,$(FRAMEWORKS_VENV)) --no-deps -r $<
	@touch $@

chaos: packages faults $(VENV)/.tested $(JOBS_VENV)/.installed  ## break a cluster and an Airflow at full length, about an hour, and print each row
	HEADNODE_FULL=1 $(VENV)/bin/python -m pytest --timeout=2400 tests/chaos tests/landcover

lint: packages $(VENV)/.tested $(JOBS_VENV)/.installed  ## style, types, the layers, insecure code and vulnerable dependencies
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --config-file dags/landcover/mypy.ini
	$(VENV)/bin/lint-imports
	@# It warns of each nosec that some other check of the same line has no use for.
	$(VENV)/bin/bandit --quiet --configfile pyproject.toml --recursive operators plugins demo bench dags docker .ci \
	    2> >(grep -v 'nosec encountered' >&2)
	$(VENV)/bin/python .ci/audit_dependencies.py constraints.txt

bench: packages $(VENV)/.installed  ## measure, side by side with what it is compared to
	$(VENV)/bin/python -m bench $(BENCH)

bench-landcover: $(JOBS_VENV)/.installed  ## measure the accuracy of land cover on data beside the project: DATA=folder
	@test -n "$(DATA)" || { echo "name the folder of the data: make bench-landcover DATA=../shared/data" >&2; exit 2; }
	PYTHONPATH=dags/landcover/jobs $(JOBS_VENV)/bin/python -m bench.landcover.accuracy --data $(DATA) $(BENCH)

bench-landcover-scale: $(JOBS_VENV)/.installed  ## measure each step of a land-cover map, and what larger areas take
	PYTHONPATH=dags/landcover/jobs $(JOBS_VENV)/bin/python -m bench.landcover $(BENCH)

bench-tuning: packages $(VENV)/.installed $(JOBS_VENV)/.installed  ## measure a hyperparameter search by 1, 2 and 4 workers
	$(VENV)/bin/python -m bench.tuning $(BENCH)

clean:  ## remove what was built here
	rm -rf $(VENV) $(JOBS_VENV) $(FRAMEWORKS_VENV) .demo dist .pytest_cache .mypy_cache .ruff_cache
