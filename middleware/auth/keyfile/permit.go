package keyfile

// The permissions of a login: names in the Extensions of its Permissions, with an empty value, as in the certificates of
// OpenSSH (PROTOCOL.certkeys). A key has all of them unless its line restricts it; a certificate has those that it was
// signed with. What is not listed is not permitted. foyer itself uses only PermitPTY: it never forwards or runs an rc file.
const (
	PermitPTY             = "permit-pty"
	PermitPortForwarding  = "permit-port-forwarding"
	PermitAgentForwarding = "permit-agent-forwarding"
	PermitX11Forwarding   = "permit-X11-forwarding"
	PermitUserRC          = "permit-user-rc"
)

// NoTouchRequired is the extension with which x/crypto accepts the signature of a security key that nobody has touched. No
// login ever has it.
const NoTouchRequired = "no-touch-required"

// Permits returns all permissions.
func Permits() []string {
	return []string{PermitPTY, PermitPortForwarding, PermitAgentForwarding, PermitX11Forwarding, PermitUserRC}
}
