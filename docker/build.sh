#!/bin/sh
# The build stage of the Dockerfile: installs the command line below the folder that is given. Further arguments go to cargo.
set -eu
root=$1
shift
cargo install --locked --path crates/eventhubs-cli --root "$root" "$@"
