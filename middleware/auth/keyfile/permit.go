package keyfile

// What a login may do, as names in the Extensions of its Permissions, with an empty value. They are the words of
// OpenSSH's certificates (PROTOCOL.certkeys), for keys and certificates alike: a key that its line does not restrict
// has all of them, a certificate those that were signed into it. What is not listed is not permitted. foyer itself asks
// for PermitPTY only; it forwards nothing and runs no rc file, permitted or not.
const (
	PermitPTY             = "permit-pty"
	PermitPortForwarding  = "permit-port-forwarding"
	PermitAgentForwarding = "permit-agent-forwarding"
	PermitX11Forwarding   = "permit-X11-forwarding"
	PermitUserRC          = "permit-user-rc"
)

// NoTouchRequired is the extension that lets x/crypto accept a security key's signature that nobody was present for.
// No login ever has it.
const NoTouchRequired = "no-touch-required"

// Permits returns all that can be permitted.
func Permits() []string {
	return []string{PermitPTY, PermitPortForwarding, PermitAgentForwarding, PermitX11Forwarding, PermitUserRC}
}
