# Every target that needs something on the machine gets it first: scripts/setup.sh installs what is
# missing and says nothing when nothing is. `make` alone lists the targets.

PORT ?= $(if $(filter cluster,$(MAKECMDGOALS)),7000,6379)
# Cargo puts its files elsewhere when CARGO_TARGET_DIR says so.
TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Then a relative one means the same in every folder, and a target-dir in ~/.cargo leads nobody astray.
export CARGO_TARGET_DIR := $(TARGET)
# Where `make install` puts what it installs.
PREFIX ?= /usr/local
# Where the integration tests and the scripts find the module; set it to try another build.
export DIRTY_MODULE ?= $(TARGET)/release/libdirty_streams.so

# What `make test-servers` tests on, by the names that scripts/servers.sh gives them.
SERVERS ?= redis-6 redis-8 redis-8-forky redis-8.2 valkey-8 valkey-9

# What `make release` releases.
VERSION ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# Where `make bench` writes; a trial run goes elsewhere and leaves the pages as they are.
OUT ?= docs/bench

.PHONY: help run cluster test orders snapshots test-servers test-clients test-monitoring build lint fuzz leaks demo bench \
    bench-smoke bench-saves bench-report watch package build-arm64 test-arm64 test-package release install uninstall clean setup

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

run: build ## start a Redis with the module in the foreground (PORT=6379)
	@scripts/run.sh $(PORT) $(TARGET)/run-$(PORT)

cluster: build ## start a Redis Cluster with the module, three primaries with replicas (PORT=7000)
	@scripts/cluster.sh run $(TARGET)/cluster-$(PORT) $(PORT)

test: build ## unit tests, integration tests against real servers, the sessions of the manual, the demo
	cargo test
	@scripts/check-docs.sh
	@scripts/check-watch.sh
	@scripts/demo.sh

orders: setup ## simulate ten million deliveries in order (DELIVERIES=10000000 SEED=…)
	cargo test --release -p dirty-streams-core --lib -- --ignored --nocapture ten_million

snapshots: build ## ten readers FROM SNAPSHOT of a million entities, while servers die (ENTITIES=1000000 RATE=10000 SECONDS=300)
	ENTITIES=$(or $(ENTITIES),1000000) RATE=$(or $(RATE),10000) SOAK_SECONDS=$(or $(SECONDS),300) \
	    CARGO_PROFILE_TEST_OPT_LEVEL=2 cargo test --test integration -- --nocapture snapshots::each

test-servers: build ## the integration tests on other servers (TESTS="smoke flush" SERVERS="redis-8.2 valkey-9")
	@scripts/test-servers.sh $(TARGET)/servers "$(SERVERS)" $(TESTS)

test-clients: build ## test clients/, play the stories of examples/, and check what they print (STORIES=each: the shop in each language alone, too)
	@scripts/setup.sh node:nodejs npm:npm python3-venv postgresql go:golang-go
	@scripts/test-python.sh
	@scripts/test-go.sh
	@scripts/test-clients.sh python
	@scripts/test-clients.sh node
	@scripts/test-clients.sh rust
	@scripts/test-readme.sh
	@$(if $(filter each,$(STORIES)),scripts/story.sh python && scripts/story.sh go && scripts/story.sh node)
	@scripts/story.sh python go node
	@scripts/story.sh cluster python go node

test-monitoring: build ## make the faults of examples/monitoring/alerts.yaml on a live server, and see them in Prometheus
	@scripts/setup.sh python3-venv
	@scripts/test-monitoring.sh

build: setup ## build the release module
	cargo build --release

lint: setup ## check the formatting and that rustfmt reaches every line, clippy with warnings as errors, and the crates in Cargo.lock
	cargo fmt --all --check
	scripts/check-format.py
	cargo fmt --check --manifest-path examples/rust/Cargo.toml
	cargo clippy --all-targets -- -D warnings
	cargo clippy --features deliberate-panic -- -D warnings
	@scripts/setup.sh python3-venv
	@scripts/deny.sh $(TARGET)/deny

fuzz: setup ## fuzz whatever reads what clients and files hold (SECONDS=60 for each target, TARGETS="json tags")
	@scripts/fuzz.sh $(or $(SECONDS),60) $(TARGETS)

leaks: build ## random commands for a server under valgrind (SECONDS=60)
	@scripts/leaks.sh $(or $(SECONDS),60) $(TARGET)/leaks

demo: build ## flush this machine's package database and read what changed
	@scripts/demo.sh

bench: build ## measure, compare with the goals, write docs/bench (ROUNDS=3 REQUESTS=100000 ENTITIES=1000000 ONLY=reading,pending OUT=folder)
	@scripts/setup.sh gnuplot:gnuplot-nox
	@scripts/bench/bench.py $(OUT) $(if $(filter docs/bench,$(OUT)),--pages)

bench-smoke: build ## a minute of it, to see that it works, not how fast the module is
	@scripts/setup.sh gnuplot:gnuplot-nox
	@scripts/bench/bench.py $(TARGET)/bench-smoke --smoke
	@scripts/bench/report.py docs/bench --check

bench-saves: build ## what a save takes by each way of docs/transactions.md (SAVES=2000)
	@scripts/bench/transactions.py $(or $(SAVES),2000)

bench-report: ## the pictures and tables of the manual once more, from docs/bench/figures.tsv
	@scripts/setup.sh gnuplot:gnuplot-nox
	@scripts/bench/report.py docs/bench --pictures --pages

watch: ## show the live events of a stream (STREAM=user-changes PORT=6379), or of several (STREAM="a b")
	@scripts/watch.py -p $(PORT) $(or $(STREAM),$(error which stream? make watch STREAM=user-changes))

package: $(if $(ARCH),build-arm64,build) ## a Debian package and a tar.gz, with checksums, in target/package (ARCH=arm64: in target/package-arm64)
	@scripts/setup.sh dpkg-shlibdeps:dpkg-dev objcopy:binutils
	@scripts/package.sh $(TARGET)/package$(if $(ARCH),-$(ARCH)) $(ARCH)

build-arm64: setup
	@scripts/arm64.sh build

test-arm64: build-arm64 ## the integration tests on an arm64 server in qemu, with the module for it (TESTS="smoke flush")
	@scripts/arm64.sh server
	@REDIS_SERVER=$(TARGET)/arm64/redis-server DIRTY_MODULE=$(TARGET)/aarch64-unknown-linux-gnu/release/libdirty_streams.so \
	    REDIS_OPTIONS="--slowlog-log-slower-than -1" cargo test --test integration -- $(or $(TESTS),smoke:: data_type:: persistence:: events::)

test-package: package ## install both on Debians of their own below target/, as docs/install.md says; needs root (DEBIANS="12 13")
	@scripts/test-package.sh $(TARGET)/package $(TARGET)/debian $(DEBIANS)

release: ## all files of a release in target/release-VERSION; nothing is published (TRIAL=1 without a tag; ARCH=arm64 for that, too)
	@TRIAL=$(TRIAL) scripts/release.sh $(TARGET)/release-$(VERSION) $(VERSION) $(ARCH)

# Installing builds nothing, so that root need not have cargo.
install: ## install what `make build` made (PREFIX=/usr/local, DESTDIR=)
	@scripts/install.sh install "$(PREFIX)" "$(DESTDIR)"

uninstall: ## remove what `make install` put there, with the same PREFIX and DESTDIR
	@scripts/install.sh uninstall "$(PREFIX)" "$(DESTDIR)"

clean: ## remove everything that was built, and the data of `make run` and `make cluster`
	cargo clean

setup:
	@scripts/setup.sh
