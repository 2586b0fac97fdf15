"""Twisted Conch: the example from which foyer began. Arguments: PORT DIRECTORY."""

import sys
from pathlib import Path

from twisted.conch.avatar import ConchUser
from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.python import log

PORT, BENCH = int(sys.argv[1]), Path(sys.argv[2])
MESSAGE = (BENCH / "message").read_bytes()


class SimpleSession(SSHChannel):
    name = b"session"

    def request_pty_req(self, data):
        return False

    def request_shell(self, data):
        reactor.callLater(0, self.send_message)  # after the reply to the request
        return True

    def send_message(self):
        self.write(MESSAGE)
        self.loseConnection()


class SimpleRealm:
    def requestAvatar(self, avatarId, mind, *interfaces):
        user = ConchUser()
        user.channelLookup[b"session"] = SimpleSession
        return interfaces[0], user, lambda: None


host_key = Key.fromFile(BENCH / "ssh_host_ed25519_key")
user_key = Key.fromFile(BENCH / "id_ed25519.pub")
password = (BENCH / "password").read_bytes().strip()

factory = SSHFactory()
factory.publicKeys = {b"ssh-ed25519": host_key.public()}
factory.privateKeys = {b"ssh-ed25519": host_key}
factory.portal = Portal(SimpleRealm())
factory.portal.registerChecker(InMemoryUsernamePasswordDatabaseDontUse(guest=password))
factory.portal.registerChecker(SSHPublicKeyChecker(InMemorySSHKeyDB({b"guest": [user_key]})))

log.startLogging(sys.stderr)
reactor.listenTCP(PORT, factory, interface="127.0.0.1")
reactor.run()
