"""AsyncSSH. Arguments: PORT DIRECTORY."""

import asyncio
import sys
from pathlib import Path

import asyncssh

PORT, HOUSE = int(sys.argv[1]), Path(sys.argv[2])
MESSAGE = (HOUSE / "message").read_bytes()
PASSWORD = (HOUSE / "password").read_text().strip()


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return username == "guest" and password == PASSWORD


def goodbye(process):
    process.stdout.write(MESSAGE)
    process.exit(0)


async def main():
    await asyncssh.create_server(
        Server,
        "127.0.0.1",
        PORT,
        server_host_keys=[HOUSE / "ssh_host_ed25519_key"],
        authorized_client_keys=str(HOUSE / "authorized_keys"),
        process_factory=goodbye,
        encoding=None,
    )
    await asyncio.Event().wait()


asyncio.run(main())
