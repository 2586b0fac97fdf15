# dropbear with a forced command. Arguments: PORT DIRECTORY.
set -e
port=$1 bench=$2
dropbearconvert openssh dropbear "$bench/ssh_host_ed25519_key" "$bench/dropbear_key"
exec unshare --mount sh "$bench/scripts/guest.sh" "$bench" dropbear -F -E -m -P /run/dropbear.pid \
	-p "127.0.0.1:$port" -r "$bench/dropbear_key" -c "cat message"
