# Everyday commands. `just --list` shows them.

# Show this list.
default:
    @just --list

# Format everything.
fmt:
    cargo fmt

# What the checks refuse, without tests.
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings

# Everything, as before a change is proposed: set-up, lints, all tests.
test:
    tests/run

# Unit tests.
unit *args:
    cargo test --lib {{args}}

# Tests of the real program; `just it lists` runs one module.
it *args:
    cargo test --test it {{args}}

# So many seeds of the simulation, from one on: `just sim 100000`, `just sim 1 4711`.
sim count="300" first="0":
    AUDIENCE_STORE_SIM_SEEDS={{count}} AUDIENCE_STORE_SIM_FIRST={{first}} cargo test --profile sim --test sim nothing_is_lost -- --nocapture

# So many kill -9 under load: `just kills 500`.
kills count="24":
    AUDIENCE_STORE_TEST_ROUNDS={{count}} cargo test --test it crash:: -- --nocapture

# Real faults on the real program: full and failing disks, permissions, damage, limits, crowds.
faults *args:
    cargo test --test it faults:: -- --nocapture {{args}}

# Against a server that stores nothing; see loadtest/README.md for what it says.
bench *args:
    loadtest/compare {{args}}

# A load test with k6, with thresholds and a report; `just load --help` lists the scenarios.
load *args:
    loadtest/run {{args}}

# What single parts take: log, codec, Parquet, cache; `just micro parquet` runs those so named.
micro *args:
    cargo bench --bench store -- {{args}}

# A store of 1,000,000 audiences against the goals of scale; `just scale --data FOLDER` takes one that is there.
scale *args:
    loadtest/scale {{args}}

# What Parquet files of few and of many audiences take, and where their bytes go.
sizes:
    cargo run --release --example sizes

# Allocations of a save, a cached listing, a read.
allocations *args:
    cargo run --release --example allocations -- {{args}}

# Start the server; `just run --sync off`.
run *args:
    cargo run --release -- {{args}}

# Fill data/persistence while no server runs; `just seed --users 1000`.
seed *args:
    cargo run --release -- seed {{args}}

# Write the parts of the documentation that are made from the code, and the sample data.
docs:
    UPDATE_DOCS=1 cargo test --test it docs
    UPDATE_SAMPLE=1 cargo test --lib sample
    cargo doc --no-deps --document-private-items

# Licences, bans and sources of dependencies, as tests/run checks them.
deny:
    tests/deny

# Known weaknesses of dependencies: fetches the advisory database, so it needs the internet.
advisories:
    tests/deny fetch db && tests/deny check advisories

# Coverage-guided fuzzing of one target of fuzz/, or of all, so many seconds each.
fuzz target="all" seconds="600":
    fuzz/run {{target}} {{seconds}}
