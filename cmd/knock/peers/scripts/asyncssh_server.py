"""AsyncSSH. Arguments: PORT DIRECTORY."""

import asyncio
import sys
from pathlib import Path

import asyncssh

PORT, BENCH = int(sys.argv[1]), Path(sys.argv[2])
MESSAGE = (BENCH / "message").read_bytes()
PASSWORD = (BENCH / "password").read_text().strip()


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return username == "guest" and password == PASSWORD


def send_message(process):
    process.stdout.write(MESSAGE)
    process.exit(0)


async def main():
    await asyncssh.create_server(
        Server,
        "127.0.0.1",
        PORT,
        server_host_keys=[BENCH / "ssh_host_ed25519_key"],
        authorized_client_keys=str(BENCH / "authorized_keys"),
        process_factory=send_message,
        encoding=None,
    )
    await asyncio.Event().wait()


asyncio.run(main())
