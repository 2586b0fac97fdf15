package middleware

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/transport"
)

// How often a client may fail on one connection: sshd's MaxAuthTries for real attempts, and for keys that it only asks about
// as many as an agent can be expected to hold. Such a question costs next to nothing and is not a guess.
const (
	maxFailures    = 6
	maxRefusedKeys = 30
)

// Methods returns the layer that says which combinations of authentication methods let a client in: "password",
// "publickey", or "publickey+password" for one after the other, in that order. A method that starts no combination is not
// offered; after the first step of a combination only its next step is. What the steps permit adds up, and what one of them
// demands, such as a source address, stays demanded. A layer that checks a method which is in no combination lets nobody
// in, wherever it stands.
//
// The layer also counts failures: 6 failed attempts, and 30 refused keys on top, so that an agent with many keys still
// reaches the password prompt. A client over a limit is told so in sshd's words, and disconnected.
func Methods(combinations ...string) Layer {
	layer := Layer{
		Name: "methods",
		Connect: func(c *Conn) (Moments, error) {
			return Moments{
				Configure: func(cfg *gossh.ServerConfig) { cfg.MaxAuthTries = -1 }, // x/crypto counts refused keys as guesses
				Attempt:   countFailures(c),
			}, nil
		},
		Server: func(*ssh.Server) error {
			if len(combinations) == 0 {
				return errors.New("no authentication method is configured")
			}
			return nil
		},
	}
	for _, combination := range combinations {
		layer.Combinations = append(layer.Combinations, strings.Split(combination, "+"))
	}
	return layer
}

func countFailures(c *Conn) func(Attempt) {
	asked, failures, refusedKeys := false, 0, 0
	return func(a Attempt) {
		switch {
		case a.Outcome == KeyRefused:
			refusedKeys++
		case a.Outcome == AttemptFailed, a.Outcome == Asked && asked:
			failures++
		case a.Outcome == Asked:
			asked = true // most clients begin with this question
		}
		if failures >= maxFailures || refusedKeys >= maxRefusedKeys {
			c.Logger().Warn("too many failures", "failures", failures, "keys", refusedKeys)
			c.disconnectBriefly(transport.NoMoreAuthMethods, "Too many authentication failures")
		}
	}
}

// methods is how the clients of a stack may authenticate.
type methods struct {
	checked      []string   // by the layers
	combinations [][]string // nil where each method lets in by itself
}

// methodsOf collects what the layers declare. Nobody authenticates twice, nor beside a layer that lets everybody in.
func methodsOf(layers []Layer) (*methods, error) {
	m := &methods{}
	for _, layer := range layers {
		for _, method := range layer.Methods {
			if slices.Contains(m.checked, method) || len(m.checked) > 0 && (method == "none") != slices.Contains(m.checked, "none") {
				return nil, fmt.Errorf("layer %s: another layer checks %s already", layer.Name, strings.Join(m.checked, " and "))
			}
		}
		m.checked = append(m.checked, layer.Methods...)
	}
	if len(m.checked) == 0 {
		return nil, errors.New("no layer authenticates: everybody would be let in")
	}
	return m, m.combine(layers)
}

// combine takes the combinations, and checks that some layer checks each of their methods.
func (m *methods) combine(layers []Layer) error {
	for _, layer := range layers {
		if layer.Combinations == nil {
			continue
		}
		if m.combinations != nil {
			return fmt.Errorf("layer %s: another layer combines methods already", layer.Name)
		}
		for _, combination := range layer.Combinations {
			if err := m.check(combination); err != nil {
				return fmt.Errorf("layer %s: %w", layer.Name, err)
			}
		}
		m.combinations = layer.Combinations
	}
	return nil
}

func (m *methods) check(combination []string) error {
	for i, method := range combination {
		switch {
		case !slices.Contains([]string{"password", "publickey", "keyboard-interactive"}, method):
			return fmt.Errorf("unknown method %q", method)
		case !slices.Contains(m.checked, method):
			return fmt.Errorf("no layer checks %s", method)
		case slices.Contains(combination[:i], method):
			return fmt.Errorf("%s twice in one combination", method)
		}
	}
	return nil
}

// restrict leaves in cfg only the callbacks that may let a client in. Without any the library would let everybody in, so
// there is always one.
func (m *methods) restrict(c *Conn, cfg *gossh.ServerConfig, srv *ssh.Server) {
	overridden := srv.PasswordHandler != nil || srv.PublicKeyHandler != nil || srv.KeyboardInteractiveHandler != nil
	if overridden {
		c.Logger().Error("connection refused", "err", "a handler of the server authenticates and would override the layers")
		_ = c.Close() // what the library makes of its handlers now is of no use to the client
	}
	m.removeUndeclared(c, cfg)
	bindUser(c, cfg)
	if m.combinations != nil {
		startCombinations(m.combinations, cfg)
	}
	if cfg.PasswordCallback == nil && cfg.PublicKeyCallback == nil && cfg.KeyboardInteractiveCallback == nil {
		cfg.PasswordCallback = func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error) {
			return nil, errors.New("no authentication method is configured")
		}
	}
}

// removeUndeclared removes the callbacks that a layer has set without declaring the method.
func (m *methods) removeUndeclared(c *Conn, cfg *gossh.ServerConfig) {
	remove := func(method string, set bool, remove func()) {
		if set && !slices.Contains(m.checked, method) {
			c.Logger().Error("authentication method ignored: no layer declares it", "method", method)
			remove()
		}
	}
	remove("password", cfg.PasswordCallback != nil, func() { cfg.PasswordCallback = nil })
	remove("publickey", cfg.PublicKeyCallback != nil, func() { cfg.PublicKeyCallback = nil })
	remove("keyboard-interactive", cfg.KeyboardInteractiveCallback != nil, func() { cfg.KeyboardInteractiveCallback = nil })
	remove("gssapi-with-mic", cfg.GSSAPIWithMICConfig != nil, func() { cfg.GSSAPIWithMICConfig = nil })
	remove("none", cfg.NoClientAuth, func() { cfg.NoClientAuth = false })
}

var errOtherUser = errors.New("the user name changed after a password was tried")

// bindUser ends a connection on which the user changes after a password, or an answer, was tried. Otherwise the owner of one
// account could try the passwords of others first. OpenSSH permits no change at all (auth2.c, input_userauth_request).
func bindUser(c *Conn, cfg *gossh.ServerConfig) {
	tried, user := false, ""
	same := func(conn gossh.ConnMetadata) error {
		if tried && conn.User() != user {
			_ = c.Close()
			return errOtherUser
		}
		return nil
	}
	try := func(conn gossh.ConnMetadata) error {
		err := same(conn)
		tried, user = true, conn.User()
		return err
	}
	cfg.PasswordCallback = checkFirst(try, cfg.PasswordCallback)
	cfg.KeyboardInteractiveCallback = checkFirst(try, cfg.KeyboardInteractiveCallback)
	cfg.PublicKeyCallback = checkFirst(same, cfg.PublicKeyCallback)
	if next := cfg.VerifiedPublicKeyCallback; next != nil { // x/crypto does not call PublicKeyCallback again for a key that was offered
		cfg.VerifiedPublicKeyCallback = func(conn gossh.ConnMetadata, key gossh.PublicKey, offered *gossh.Permissions, algorithm string) (*gossh.Permissions, error) {
			if err := same(conn); err != nil {
				return nil, err
			}
			return next(conn, key, offered, algorithm)
		}
	}
}

// checkFirst returns an authentication callback that calls next only if check returns no error; nil if next is nil.
func checkFirst[T any](check func(gossh.ConnMetadata) error, next func(gossh.ConnMetadata, T) (*gossh.Permissions, error)) func(gossh.ConnMetadata, T) (*gossh.Permissions, error) {
	if next == nil {
		return nil
	}
	return func(conn gossh.ConnMetadata, offered T) (*gossh.Permissions, error) {
		if err := check(conn); err != nil {
			return nil, err
		}
		return next(conn, offered)
	}
}

// progress is how far a client has come in the combinations that are still open to it.
type progress struct {
	open    [][]string         // the methods that are left of each
	granted *gossh.Permissions // by all steps so far; nil before the first

	password    func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error)
	key         func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error)
	interactive func(gossh.ConnMetadata, gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error)
}

// startCombinations offers the first steps of the combinations. Each step counts once its check has succeeded.
func startCombinations(combinations [][]string, cfg *gossh.ServerConfig) {
	p := &progress{open: combinations, key: cfg.PublicKeyCallback}
	if check := cfg.PasswordCallback; check != nil {
		p.password = func(conn gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
			return p.step("password")(check(conn, password))
		}
	}
	if check := cfg.KeyboardInteractiveCallback; check != nil {
		p.interactive = func(conn gossh.ConnMetadata, ask gossh.KeyboardInteractiveChallenge) (*gossh.Permissions, error) {
			return p.step("keyboard-interactive")(check(conn, ask))
		}
	}
	// A key counts once it is proven, not when it is offered.
	if check := cfg.VerifiedPublicKeyCallback; check != nil {
		cfg.VerifiedPublicKeyCallback = func(conn gossh.ConnMetadata, key gossh.PublicKey, offered *gossh.Permissions, algorithm string) (*gossh.Permissions, error) {
			return p.step("publickey")(check(conn, key, offered, algorithm))
		}
	} else {
		p.key = nil
	}
	first := p.next()
	cfg.PasswordCallback, cfg.PublicKeyCallback = first.PasswordCallback, first.PublicKeyCallback
	cfg.KeyboardInteractiveCallback, cfg.GSSAPIWithMICConfig, cfg.NoClientAuth = first.KeyboardInteractiveCallback, nil, false
}

// next returns the callbacks of the steps that can be taken now.
func (p *progress) next() (callbacks gossh.ServerAuthCallbacks) {
	for _, combination := range p.open {
		switch combination[0] {
		case "password":
			callbacks.PasswordCallback = p.password
		case "publickey":
			callbacks.PublicKeyCallback = p.key
		case "keyboard-interactive":
			callbacks.KeyboardInteractiveCallback = p.interactive
		}
	}
	return callbacks
}

// step takes the result of a method's check. At the end of a combination it returns all that the steps have granted.
// Before, it returns the x/crypto error that says so, after which the client cannot change the user.
func (p *progress) step(method string) func(*gossh.Permissions, error) (*gossh.Permissions, error) {
	return func(granted *gossh.Permissions, err error) (*gossh.Permissions, error) {
		if err != nil {
			return nil, err
		}
		p.granted = merge(p.granted, granted)
		var open [][]string
		for _, combination := range p.open {
			switch {
			case combination[0] != method:
			case len(combination) == 1:
				return p.granted, nil
			default:
				open = append(open, combination[1:])
			}
		}
		p.open = open
		return nil, &gossh.PartialSuccessError{Next: p.next()}
	}
}

// merge returns what the steps before and one more permit.
func merge(before, granted *gossh.Permissions) *gossh.Permissions {
	if before == nil {
		return granted
	}
	all := &gossh.Permissions{CriticalOptions: map[string]string{}, Extensions: map[string]string{}}
	for _, step := range []*gossh.Permissions{before, granted} {
		maps.Copy(all.CriticalOptions, step.CriticalOptions)
		maps.Copy(all.Extensions, step.Extensions)
	}
	return all
}
