"""Connects to foyer with Twisted Conch: each of FOYER_TEST_REQUESTS in a session of its own, all on one connection.

It writes the output of the sessions to stdout and stderr, unchanged and in the order of the requests. The exit status is
the highest of the sessions.
"""

import base64
import os
import struct
import sys

from twisted.conch.ssh import channel, common, connection, session, transport, userauth
from twisted.internet import defer, endpoints, error, task


def known_host_keys():
    with open(os.path.expanduser("~/.ssh/known_hosts")) as lines:
        return [base64.b64decode(line.split()[2]) for line in lines]


class Transport(transport.SSHClientTransport):
    def __init__(self, ready):
        self.ready = ready

    def verifyHostKey(self, key, fingerprint):
        if key in known_host_keys():
            return defer.succeed(True)
        return defer.fail(error.ConnectError(string="unknown host key"))

    def connectionSecure(self):
        user = os.environ["FOYER_TEST_USER"].encode()
        self.requestService(Auth(user, Connection(self.ready)))

    def connectionLost(self, reason):
        super().connectionLost(reason)
        if not self.ready.called:
            self.ready.errback(reason)


class Auth(userauth.SSHUserAuthClient):
    def getPublicKey(self):
        return None

    def getPassword(self, prompt=None):
        return defer.succeed(os.environ["FOYER_TEST_PASSWORD"].encode())


class Connection(connection.SSHConnection):
    def __init__(self, ready):
        super().__init__()
        self.ready = ready

    def serviceStarted(self):
        super().serviceStarted()
        self.ready.callback(self)


class Session(channel.SSHChannel):
    name = b"session"

    def __init__(self, request):
        super().__init__()
        self.request = request
        self.stdout = self.stderr = b""
        self.status = None
        self.done = defer.Deferred()

    @defer.inlineCallbacks
    def channelOpen(self, data):
        try:
            if self.request == "pty":
                terminal = session.packRequest_pty_req(os.environ["TERM"].encode(), (24, 80, 0, 0), b"")
                yield self.conn.sendRequest(self, b"pty-req", terminal, wantReply=True)
            name, payload = {
                "exec": (b"exec", common.NS(b"echo hi")),
                "subsystem": (b"subsystem", common.NS(b"netconf")),
            }.get(self.request, (b"shell", b""))
            yield self.conn.sendRequest(self, name, payload, wantReply=True)
        except Exception:
            self.done.errback()

    def openFailed(self, reason):
        self.done.errback(reason)

    def dataReceived(self, data):
        self.stdout += data

    def extReceived(self, kind, data):
        self.stderr += data

    def request_exit_status(self, data):
        (self.status,) = struct.unpack(">L", data)

    def closed(self):
        if not self.done.called:
            self.done.callback(self)


@defer.inlineCallbacks
def main(reactor):
    host, port = os.environ["FOYER_TEST_HOST"], int(os.environ["FOYER_TEST_PORT"])
    ready = defer.Deferred()
    client = endpoints.TCP4ClientEndpoint(reactor, host, port)
    yield endpoints.connectProtocol(client, Transport(ready))
    conn = yield ready
    sessions = [Session(request) for request in os.environ["FOYER_TEST_REQUESTS"].split()]
    for each in sessions:
        conn.openChannel(each)
    yield defer.gatherResults([each.done for each in sessions], consumeErrors=True)
    for each in sessions:
        sys.stdout.buffer.write(each.stdout)
        sys.stderr.buffer.write(each.stderr)
    if any(each.status is None for each in sessions):
        sys.exit("a session ended without an exit status")
    sys.exit(max(each.status for each in sessions))


task.react(main)
