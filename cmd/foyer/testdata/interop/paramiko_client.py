"""Connects to foyer with paramiko: each of FOYER_TEST_REQUESTS in a session of its own, all on one connection.

It writes the output of the sessions to stdout and stderr, unchanged and in the order of the requests. The exit status is
the highest of the sessions.
"""

import os
import sys

import paramiko


def connect():
    client = paramiko.SSHClient()  # refuses unknown host keys
    client.load_system_host_keys()
    client.connect(
        os.environ["FOYER_TEST_HOST"],
        int(os.environ["FOYER_TEST_PORT"]),
        os.environ["FOYER_TEST_USER"],
        os.environ["FOYER_TEST_PASSWORD"],
        allow_agent=False,
        look_for_keys=False,
    )
    return client


def begin(client, request):
    session = client.get_transport().open_session()
    if request == "exec":
        session.exec_command("echo hi")
    elif request == "subsystem":
        session.invoke_subsystem("netconf")
    else:
        if request == "pty":
            session.get_pty(os.environ["TERM"])
        session.invoke_shell()
    return session


def finish(session):
    sys.stdout.buffer.write(session.makefile("rb").read())
    sys.stderr.buffer.write(session.makefile_stderr("rb").read())
    return session.recv_exit_status()


with connect() as client:
    sessions = [begin(client, request) for request in os.environ["FOYER_TEST_REQUESTS"].split()]
    statuses = [finish(session) for session in sessions]
if -1 in statuses:
    sys.exit("a session ended without an exit status")
sys.exit(max(statuses))
