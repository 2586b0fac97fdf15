# foyer with its defaults. Arguments: PORT DIRECTORY.
set -e
port=$1 bench=$2
dir=$bench/foyer.$port
mkdir -p "$dir/hostkeys"
cp "$bench/ssh_host_ed25519_key" "$dir/hostkeys"
cd "$dir"
"$bench/bin/foyer" user add guest --password-stdin <"$bench/password"
"$bench/bin/foyer" user add guest --key "$bench/id_ed25519.pub"
exec "$bench/bin/foyer" --listen "127.0.0.1:$port"
