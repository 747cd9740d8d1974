# Runs PgBouncer in a folder of its own until standard input ends. $1: port, $2: port of the server.
set -eu
port=$1 server_port=$2
folder=$(mktemp -d /tmp/eventhubs-pgbouncer.XXXXXX)
pooler=
trap 'kill -TERM "$pooler" 2>/dev/null && wait "$pooler" || true; rm -rf "$folder"' EXIT
cat >"$folder/ini" <<END
[databases]
* = host=127.0.0.1 port=$server_port
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = scram-sha-256
auth_file = $folder/users
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
END
echo '"postgres" "password"' >"$folder/users"
pgbouncer "$folder/ini" >"$folder/log" 2>&1 </dev/null &
pooler=$!
for _ in $(seq 600); do
    if grep -q "process up" "$folder/log"; then echo ready; break; fi
    kill -0 "$pooler" 2>/dev/null || { cat "$folder/log" >&2; exit 1; }
    sleep 0.05
done
read -r _ || true
