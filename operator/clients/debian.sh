#!/bin/sh
# PostgreSQL's clients 15 and 17 from Debian's own archive: 17 is this release's, 15 the one before's.
# Runs while the image is built (operator/Dockerfile).
set -eu
. "$(dirname "$0")/suites.sh"
add_suite bookworm
apt-get update
apt-get install -y --no-install-recommends postgresql-client-15 postgresql-client-17
remove_suite bookworm
apt-get update
