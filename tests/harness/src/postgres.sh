# Runs a PostgreSQL server in a folder of its own, and removes it when standard input ends, which it does with the
# process of the tests. $1: programs, $2: port, $3 and $4: certificate and key, empty without TLS.
set -eu
programs=$1 port=$2 certificate=$3 key=$4
folder=$(mktemp -d /tmp/eventhubs-postgres.XXXXXX)
server=
stop() {
    if [ -n "$server" ]; then
        kill "-$1" "$server" 2>/dev/null || true
        wait "$server" || true
    fi
}
trap 'stop QUIT; rm -rf "$folder"' EXIT

start() {
    "$programs/postgres" -D "$folder/data" >>"$folder/log" 2>&1 </dev/null &
    server=$!
    for _ in $(seq 600); do
        if "$programs/pg_isready" -q -h 127.0.0.1 -p "$port" -U postgres; then return; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    cat "$folder/log" >&2
    return 1
}

printf 'password' >"$folder/password"
"$programs/initdb" -D "$folder/data" -U postgres --pwfile="$folder/password" -A scram-sha-256 --no-sync -E UTF8 \
    --locale=C >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
cat >>"$folder/data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
fsync = off
max_connections = 200
END
if [ -n "$certificate" ]; then
    printf '%s' "$certificate" >"$folder/data/server.crt"
    (umask 077; printf '%s' "$key" >"$folder/data/server.key")
    echo "ssl = on" >>"$folder/data/postgresql.conf"
fi
start
echo ready
while read -r command; do
    case $command in
    restart) stop QUIT; start ;;
    stop) stop QUIT; server= ;;
    start) start ;;
    esac
    echo ready
done
