"""Connects to foyer with asyncssh: each of FOYER_TEST_REQUESTS in a session of its own, all on one connection.

It writes the output of the sessions to stdout and stderr, unchanged and in the order of the requests. The exit status is
the highest of the sessions.
"""

import asyncio
import os
import sys

import asyncssh


def connect():
    return asyncssh.connect(  # checks the host key with ~/.ssh/known_hosts
        os.environ["FOYER_TEST_HOST"],
        int(os.environ["FOYER_TEST_PORT"]),
        username=os.environ["FOYER_TEST_USER"],
        password=os.environ["FOYER_TEST_PASSWORD"],
        config=None,
        client_keys=None,
        agent_path=None,
    )


async def run(conn, request):
    options = {
        "shell": {},
        "exec": {"command": "echo hi"},
        "subsystem": {"subsystem": "netconf"},
        "pty": {"term_type": os.environ["TERM"]},
    }
    process = await conn.create_process(**options[request], encoding=None)
    return await process.wait()


async def main():
    async with connect() as conn:
        requests = os.environ["FOYER_TEST_REQUESTS"].split()
        results = await asyncio.gather(*(run(conn, request) for request in requests))
    for result in results:
        sys.stdout.buffer.write(result.stdout)
        sys.stderr.buffer.write(result.stderr)
    if any(result.exit_status is None for result in results):
        return "a session ended without an exit status"
    return max(result.exit_status for result in results)


sys.exit(asyncio.run(main()))
