# sshd with a forced command. Arguments: PORT DIRECTORY.
port=$1 bench=$2
exec unshare --mount sh "$bench/scripts/guest.sh" "$bench" /usr/sbin/sshd -D -e -f "$bench/scripts/sshd_config" \
	-o "ListenAddress=127.0.0.1:$port" -o "HostKey=$bench/ssh_host_ed25519_key" -o "ForceCommand=cat message"
