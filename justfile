# The verbs of this repository. `cargo demo` and `cargo ci` need nothing but cargo.

# List the verbs
default:
    @just --list

# The tour: a cluster, 336,776 flights, five SmartModules
demo:
    cargo demo

# Everything that must hold before a change goes in. Never writes.
verify:
    cargo ci

# Build the programs
build:
    cargo build --release --bins

# Format, and mend what clippy can mend
fix:
    cargo fmt --all
    cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged

# Formatting, lints and the shape of the sources
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    cargo xtask tidy

# Unit, property and component tests; `just test thalweg-storage` for one crate
test package="":
    cargo test --release {{ if package == "" { "--workspace" } else { "--package " + package } }}

# Real processes: kill, restart, bad input
cluster:
    cargo build --release --bins
    cargo test --release --package thalweg-tests-cluster

# Against a real Kubernetes with simulated nodes (needs Go); `just k8s admit` for some of the tests
k8s *arguments:
    cargo xtask k8s {{ arguments }}

# The same with real nodes, whose containers run (needs root)
k8s-real *arguments:
    cargo xtask k8s-real {{ arguments }}

# The container image, as an OCI archive: `just image NAME:TAG`
image *name:
    cargo xtask image {{ name }}

# Kill SPUs under load, many more times than CI does
crash rounds="50":
    cargo build --release --bins
    THALWEG_CRASH_ROUNDS={{ rounds }} cargo test --release --package thalweg-tests-cluster crash

# Harm a cluster by seed and check what its clients saw; `just nemesis --rounds 200 --seed 1`
nemesis *arguments:
    cargo build --release --workspace --bins
    target/release/thalweg-nemesis {{ arguments }}

# Check the rules of replication in every order of events; `just model --include-ignored` for more
model *arguments:
    cd tests/model && CARGO_TARGET_DIR=../../target/model cargo test --release --test rules -- {{ arguments }}

# Simulate clusters under harm; `just sim --seeds 1000 --seed 1`, or one seed with `--trace info`
sim *arguments:
    cd tests/sim && CARGO_TARGET_DIR=../../target cargo build --release
    target/release/thalweg-sim {{ arguments }}

# Thalweg beside Kafka and NATS on this machine (needs a JDK, Maven and Go); see docs/benchmarks.md
bench *arguments:
    cargo build --release --workspace --bins
    target/release/thalweg-bench compare {{ arguments }}

# Other people's Kafka clients
compat:
    cargo build --release --bins
    cargo test --release --package thalweg-tests-compat

# The commands that the README and the guide show
docs:
    cargo build --release --bins
    cargo test --release --package thalweg-tests-docs

# Fuzz one decoder (needs nightly and cargo-fuzz), for example `just fuzz record_batch`
fuzz target:
    cd tests/fuzz && cargo +nightly fuzz run {{ target }}
