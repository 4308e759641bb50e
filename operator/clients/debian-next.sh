#!/bin/sh
# PostgreSQL's clients 15, 17 and 18 from Debian's own archive; 18 is the next release's, of which nothing else is taken but
# its libpq, which serves all clients. Runs while the image is built (operator/Dockerfile).
set -eu
. "$(dirname "$0")/suites.sh"
add_suite bookworm
add_suite forky "postgresql-client-18 libpq5"
apt-get update
apt-get install -y --no-install-recommends postgresql-client-15 postgresql-client-17 postgresql-client-18
remove_suite forky
remove_suite bookworm
apt-get update
