# The commands of the repository. Each target is a script below scripts/ or one line here;
# what they build and fetch lies outside the clone (see scripts/lib.sh).

.DEFAULT_GOAL := help
.PHONY: run stop test faults languages soak test-rootless test-v2 test-systemd bench bench-v2 deb static clean help

# Where `make run` listens; `make run LISTEN=127.0.0.1:7170 ADMIN_LISTEN=127.0.0.1:7171` moves it.
LISTEN ?= 127.0.0.1:7070
ADMIN_LISTEN ?= 127.0.0.1:7071
export LISTEN ADMIN_LISTEN

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## build, start the platform in the background, deploy the example and book a ticket
	@scripts/run.sh

stop: ## stop what `make run` started, its Redis too; the data stays
	@scripts/stop.sh

test: ## everything that a change must pass; the last line counts
	@scripts/test.sh

faults: ## the escape list, hostile archives, kills and floods, without the rest
	@scripts/test.sh faults

languages: ## the tests of examples/baskets in Scala and Clojure, which `make test` only deploys
	@scripts/test.sh languages

soak: ## long runs with hang-ups, crashes and random kills; SOAK_SECONDS=3600 for the hour
	@scripts/test.sh soak

test-rootless: ## the sandbox and limit suites as an ordinary user
	@scripts/rootless.sh

test-v2: ## the sandbox and limit suites under cgroup v2, in a small virtual machine
	@scripts/v2.sh

test-systemd: ## the package and `freehold install` as a service of a Debian in namespaces of its own
	@scripts/systemd.sh

bench: ## measure the numbers of SPECIFICATION.md beside a bare echo, in one run
	@scripts/bench.sh

bench-v2: ## a bench in that machine, where it may open as many descriptors as it likes; V2_BENCHES=front
	@scripts/bench_v2.sh

deb: ## build the Debian package; its path is the last line
	@scripts/deb.sh

static: ## build a binary without shared libraries; its path is the last line
	@scripts/static.sh

clean: ## remove builds and fetched tools from the cache; data of `make run` stays
	@scripts/clean.sh
