# Runs a command that sees a user "guest" and an empty /run. Arguments: DIRECTORY COMMAND.
# It needs a mount namespace of its own (unshare --mount), with which the changes are gone when the command ends.
set -e
umask 077
bench=$1
shift
id=64123 # nobody has it
home=$bench/home
mkdir -p "$home/.ssh"
cp "$bench/authorized_keys" "$home/.ssh"
cp "$bench/message" "$home"
chown -R $id:$id "$home"
hash=$(openssl passwd -6 -stdin <"$bench/password") # sha512-crypt, as Debian 10 uses it
{ echo "guest:x:$id:$id::$home:/bin/sh"; cat /etc/passwd; } >"$bench/passwd"
{ echo "guest:$hash:19000:0:99999:7:::"; cat /etc/shadow; } >"$bench/shadow"
chmod 644 "$bench/passwd"
mount --bind "$bench/passwd" /etc/passwd
mount --bind "$bench/shadow" /etc/shadow
mount -t tmpfs run /run
umask 022
mkdir /run/sshd
exec "$@"
