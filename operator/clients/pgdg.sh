#!/bin/sh
# PostgreSQL's clients 14-18 from the PostgreSQL project's archive. Runs while the image is built (operator/Dockerfile).
# Source: https://wiki.postgresql.org/wiki/Apt
set -eu
apt-get update
apt-get install -y --no-install-recommends postgresql-common
# the script and the key that it trusts come with Debian's package
/usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y
apt-get install -y --no-install-recommends \
  postgresql-client-14 postgresql-client-15 postgresql-client-16 postgresql-client-17 postgresql-client-18
