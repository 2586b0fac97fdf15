package middleware

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"

	"charm.land/ssh"
	gossh "golang.org/x/crypto/ssh"

	"foyer/middleware/auth/passwords"
)

// How often a visitor may fail on one connection: sshd's MaxAuthTries for real attempts, and for keys that are refused
// as many as an agent can be expected to hold. Each refused key costs next to nothing, and none is a guess.
const (
	maxFailures    = 6
	maxRefusedKeys = 30
)

// Methods returns the layer that says which ways lead in, of those that the layers around it can check: "password",
// "publickey", or "publickey+password" for the one after the other, in that order. A way that starts with a method is
// the only reason for which that method is offered; after the first step of one, only its next step is. What the steps
// permit adds up, and what one of them demands, such as a source address, stays demanded.
//
// It also counts failures as sshd does not: refused keys have a budget of their own, so that an agent with many still
// reaches the password prompt. Whoever is over a budget is hung up on.
func Methods(ways ...string) Layer {
	return Layer{
		Name: "methods",
		Server: func(srv *ssh.Server) error {
			steps, err := parseWays(ways, config(srv))
			if err != nil {
				return err
			}
			return Hooks{
				Accept: func(ctx ssh.Context, conn net.Conn) net.Conn {
					keep(ctx, &attempts{conn: conn})
					return conn
				},
				Configure: func(ctx ssh.Context, cfg *gossh.ServerConfig) {
					offer(steps, cfg)
					countFailures(ctx, cfg)
				},
			}.Add(srv)
		},
	}
}

// parseWays splits each way into its steps, and checks that cfg has what each step needs.
func parseWays(ways []string, cfg *gossh.ServerConfig) ([][]string, error) {
	if cfg.NoClientAuth || cfg.KeyboardInteractiveCallback != nil || cfg.GSSAPIWithMICConfig != nil {
		return nil, errors.New("another layer lets in by a way of its own")
	}
	have := map[string]bool{
		"password":  cfg.PasswordCallback != nil,
		"publickey": cfg.PublicKeyCallback != nil && cfg.VerifiedPublicKeyCallback != nil, // where a step is counted
	}
	var steps [][]string
	for _, way := range ways {
		way := strings.Split(way, "+")
		for i, method := range way {
			switch checked, known := have[method]; {
			case !known:
				return nil, fmt.Errorf("unknown method %q: there are password and publickey", method)
			case !checked:
				return nil, fmt.Errorf("no layer checks %s", method)
			case slices.Contains(way[:i], method):
				return nil, fmt.Errorf("%s twice in one way", method)
			}
		}
		steps = append(steps, way)
	}
	if len(steps) == 0 {
		return nil, errors.New("no way leads in")
	}
	return steps, nil
}

// progress is how far a connection has come on the ways that are still open to it.
type progress struct {
	ways     [][]string
	granted  *gossh.Permissions // by all steps so far; nil before the first
	password func(gossh.ConnMetadata, []byte) (*gossh.Permissions, error)
	key      func(gossh.ConnMetadata, gossh.PublicKey) (*gossh.Permissions, error)
}

// offer puts the first steps of the ways in the place of the callbacks that check them.
func offer(ways [][]string, cfg *gossh.ServerConfig) {
	p := &progress{ways: ways, key: cfg.PublicKeyCallback}
	if check := cfg.PasswordCallback; check != nil {
		p.password = func(conn gossh.ConnMetadata, password []byte) (*gossh.Permissions, error) {
			granted, err := check(conn, password)
			if err != nil {
				return nil, err
			}
			return p.pass("password", granted)
		}
	}
	if check := cfg.VerifiedPublicKeyCallback; check != nil {
		cfg.VerifiedPublicKeyCallback = func(conn gossh.ConnMetadata, key gossh.PublicKey, shown *gossh.Permissions, algorithm string) (*gossh.Permissions, error) {
			granted, err := check(conn, key, shown, algorithm)
			if err != nil {
				return nil, err
			}
			return p.pass("publickey", granted)
		}
	}
	first := p.next()
	cfg.PasswordCallback, cfg.PublicKeyCallback = first.PasswordCallback, first.PublicKeyCallback
}

// next returns the callbacks of the steps that can be taken now.
func (p *progress) next() (callbacks gossh.ServerAuthCallbacks) {
	for _, way := range p.ways {
		switch way[0] {
		case "password":
			callbacks.PasswordCallback = p.password
		case "publickey":
			callbacks.PublicKeyCallback = p.key
		}
	}
	return callbacks
}

// pass takes a step that has succeeded. At the end of a way it returns all that the steps have granted; before, the
// x/crypto error that says so, and that keeps the user from being changed.
func (p *progress) pass(method string, granted *gossh.Permissions) (*gossh.Permissions, error) {
	p.granted = together(p.granted, granted)
	var open [][]string
	for _, way := range p.ways {
		switch {
		case way[0] != method:
		case len(way) == 1:
			return p.granted, nil
		default:
			open = append(open, way[1:])
		}
	}
	p.ways = open
	return nil, &gossh.PartialSuccessError{Next: p.next()}
}

// together returns what the steps before and one more permit.
func together(before, granted *gossh.Permissions) *gossh.Permissions {
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

// attempts is what Methods counts on a connection.
type attempts struct {
	conn                  net.Conn
	asked                 bool
	failures, refusedKeys int
}

// errDecided is what a layer fails with that checks what Methods, which stands around it, knows nothing of.
var errDecided = errors.New("the methods layer stands before it and would let it in unasked: put methods last of them")

// decided reports whether Methods has prepared cfg.
func decided(cfg *gossh.ServerConfig) bool { return cfg.MaxAuthTries < 0 }

func countFailures(ctx ssh.Context, cfg *gossh.ServerConfig) {
	cfg.MaxAuthTries = -1 // x/crypto counts most refused keys among the guesses
	a := kept[*attempts](ctx)
	if a == nil {
		return // at start
	}
	afterAttempts(cfg, func(conn gossh.ConnMetadata, method string, err error) {
		var partial *gossh.PartialSuccessError
		switch {
		case err == nil, errors.As(err, &partial), errors.Is(err, passwords.ErrBusy):
		case method == "none" && !a.asked:
			a.asked = true // what most clients open with is a question
		case method == "publickey":
			a.refusedKeys++
		default:
			a.failures++
		}
		if a.failures >= maxFailures || a.refusedKeys >= maxRefusedKeys {
			Logger(ctx).Warn("too many failures", "failures", a.failures, "keys", a.refusedKeys)
			_ = a.conn.Close()
		}
	})
}
