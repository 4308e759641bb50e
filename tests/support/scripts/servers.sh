# The servers of a test pod: servers.sh postgres | redis | postgres redis. Runs as root, starts each under its own user.
# /server/password is the password of both (none: only the pod itself gets in); /tls/tls.crt, tls.key and ca.crt switch TLS on.
# Data lives in /data, sockets in /run/servers; /run/servers/ready exists once all of them answer.
set -eu
programs=/usr/lib/postgresql/${POSTGRES_MAJOR:-17}/bin
sockets=/run/servers
mkdir -p "$sockets" /data
chmod 0777 "$sockets" /data
as() { user=$1; shift; setpriv --reuid="$user" --regid="$user" --clear-groups "$@"; }

start_postgres() {
  install -d -m 0700 -o postgres -g postgres /data/postgres
  if [ ! -e /data/postgres/PG_VERSION ]; then
    cat /server/password >/data/postgres-password 2>/dev/null || echo unused >/data/postgres-password
    chmod 0644 /data/postgres-password
    as postgres "$programs/initdb" --pgdata=/data/postgres --username="${POSTGRES_SUPERUSER:-postgres}" --encoding=UTF8 --locale=C.UTF-8 --no-sync \
      --auth-local=trust --auth-host=scram-sha-256 --pwfile=/data/postgres-password >/dev/null
    echo "host all all all scram-sha-256" >>/data/postgres/pg_hba.conf
  fi
  options="-c listen_addresses=* -c unix_socket_directories=$sockets -c fsync=off -c full_page_writes=off -c wal_level=logical
    -c max_wal_size=4GB -c shared_buffers=64MB"
  if [ -e /tls/tls.crt ]; then
    install -m 0600 -o postgres -g postgres /tls/tls.key /data/postgres.key
    options="$options -c ssl=on -c ssl_cert_file=/tls/tls.crt -c ssl_key_file=/data/postgres.key"
    sed -i 's/^host all all all/hostssl all all all/' /data/postgres/pg_hba.conf
  fi
  # shellcheck disable=SC2086 - the options are words
  as postgres "$programs/postgres" -D /data/postgres $options &
  until pg_isready --quiet --host="$sockets"; do sleep 0.1; done
}

start_redis() {
  install -d -m 0700 -o redis -g redis /data/redis
  {
    echo "dir /data/redis"
    echo "unixsocket $sockets/redis"
    echo "unixsocketperm 777"
    echo 'save ""'
    echo "repl-diskless-sync-delay 0"
    echo "bind * -::*"
    if [ -e /server/password ]; then echo "requirepass \"$(cat /server/password)\""; else echo "protected-mode no"; fi
    if [ -e /tls/tls.crt ]; then
      install -m 0600 -o redis -g redis /tls/tls.key /data/redis.key
      echo "port 0"
      echo "tls-port 6379"
      echo "tls-cert-file /tls/tls.crt"
      echo "tls-key-file /data/redis.key"
      echo "tls-ca-cert-file /tls/ca.crt"
    fi
  } >/data/redis.conf
  as redis redis-server /data/redis.conf &
  until redis-cli -s "$sockets/redis" ping 2>&1 | grep -q -e PONG -e NOAUTH; do sleep 0.1; done
}

trap 'kill $(jobs -p) 2>/dev/null; wait' TERM INT
for server in "$@"; do "start_$server"; done
touch "$sockets/ready"
wait -n
