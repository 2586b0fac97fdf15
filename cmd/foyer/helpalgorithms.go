package main

import "github.com/spf13/cobra"

// algorithmsTopic is what "foyer help algorithms" prints.
func algorithmsTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "algorithms",
		Short: "Who can connect with which --algorithms",
		Long: `The client chooses: a wider set does not weaken the connection of a client that
knows better. Each set has all of the one before.

  set       has                                    and so serves
  strict    mlkem768x25519, curve25519; AEAD and   OpenSSH since 6.5, dropbear, PuTTY,
            AES-CTR with encrypt-then-MAC;         paramiko, asyncssh, node's ssh2,
            ed25519 and RSA host keys              phpseclib 3, Go
  default   NIST curves, also for a host key;      libssh2 1.10 (curl, PHP, many file
            encrypt-and-MAC with SHA-2             managers), Ruby's net-ssh 7,
                                                   Twisted Conch
  compat    DH group14, SHA-1 for MACs and RSA     OpenSSH since 5.3, JSch 0.1.54 and
                                                   Trilead, which need an RSA host
                                                   key: foyer hostkey add rsa

ssh-audit has nothing to say of strict. Of default it says that NIST curves may have
been chosen badly and that encrypt-and-MAC is not the best order. Of compat it says
in addition that SHA-1 is broken. No set has group1, group-exchange, CBC, 3DES, RC4
or DSA.`,
	}
}
