package share

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/valkey-io/valkey-go"
)

//go:embed merge.lua
var mergeSource string

//go:embed load.lua
var loadSource string

var (
	mergeScript = valkey.NewLuaScript(mergeSource)
	loadScript  = valkey.NewLuaScript(loadSource)
)

// Valkey is an engine in Valkey or Redis, also a cluster or one with sentinels, from Redis 5 on. A user of its own needs
//
//	ACL SETUSER foyer on >PASSWORD ~foyer:NAME:* &foyer:NAME:* -@all +evalsha +eval +get +set +publish +subscribe +unsubscribe
//		+ping +hello +auth +select +cluster|slots +cluster|shards +time +zscore +zadd +zcard +zremrangebyscore +zremrangebyrank
//		+zrevrangebyscore +pexpire
type Valkey struct {
	Rules
	URL          URL
	Name         string // of the fleet; keys begin with foyer:NAME:
	PasswordFile string // read for each connection; may be empty
}

func (v *Valkey) String() string { return v.URL.String() }

func (v *Valkey) key(what string) string { return "foyer:" + v.Name + ":" + what }

// aliveFor is how long the key stays that [Connection.Ping] sets.
const aliveFor = time.Minute

// options are the options of a client that fails soon and does not try again: the replica does that.
func (v *Valkey) options() (valkey.ClientOption, error) {
	opt, err := valkey.ParseURL(string(v.URL))
	if err != nil {
		return opt, err
	}
	if v.PasswordFile != "" {
		if opt.Password, err = ReadSecret(v.PasswordFile); err != nil {
			return opt, err
		}
	}
	opt.Dialer = net.Dialer{Timeout: patience, KeepAlive: patience}
	opt.DialCtxFn = dialer(opt.DialCtxFn)
	opt.ConnWriteTimeout = patience
	opt.DisableRetry, opt.DisableCache = true, true
	opt.ClientSetInfo = valkey.DisableClientSetInfo
	opt.PipelineMultiplex, opt.ReadBufferEachConn, opt.WriteBufferEachConn = -1, maxMessage, maxMessage
	return opt, nil
}

// Open implements [Engine].
func (v *Valkey) Open(ctx context.Context, receiver Receiver) (Connection, error) {
	client, err := v.dial(ctx)
	if err != nil {
		return nil, describe(err)
	}
	receiving, stop := context.WithCancel(context.Background())
	c := &valkeyConnection{engine: v, client: client, lost: make(chan error, 1), stop: stop}
	subscribed := make(chan struct{}, 1)
	go func() {
		c.lost <- describe(v.subscribe(receiving, client, receiver, subscribed))
	}()
	select {
	case <-subscribed:
		return c, nil
	case err = <-c.lost:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.Close()
	return nil, describe(err)
}

// subscribe receives until ctx is done or the connection is lost.
func (v *Valkey) subscribe(ctx context.Context, client valkey.Client, receiver Receiver, subscribed chan<- struct{}) error {
	channels := []string{v.key("blocks"), v.key("maintenance")}
	ctx = valkey.WithOnSubscriptionHook(ctx, func(s valkey.PubSubSubscription) {
		if s.Count < int64(len(channels)) {
			return
		}
		select {
		case subscribed <- struct{}{}:
		default:
		}
	})
	err := client.Receive(ctx, client.B().Subscribe().Channel(channels...).Build(), func(m valkey.PubSubMessage) {
		if m.Channel == channels[0] {
			receiver.Blocks(decode(m.Message))
		} else {
			receiver.Switched()
		}
	})
	if err == nil {
		err = errors.New("the subscription has ended")
	}
	return err
}

// dial returns a client that is connected.
func (v *Valkey) dial(ctx context.Context) (valkey.Client, error) {
	opt, err := v.options()
	if err != nil {
		return nil, err
	}
	var client valkey.Client
	dialed := make(chan error, 1)
	go func() {
		var err error
		client, err = valkey.NewClient(opt)
		dialed <- err
	}()
	select {
	case err := <-dialed:
		return client, err
	case <-ctx.Done():
		go func() {
			if <-dialed == nil {
				client.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// describe makes an error of the library plain.
func describe(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", patience)
	}
	return err
}

// valkeyConnection is a [Connection].
type valkeyConnection struct {
	engine *Valkey
	client valkey.Client
	lost   chan error
	stop   context.CancelFunc
}

// Merge implements [Connection].
func (c *valkeyConnection) Merge(ctx context.Context, charges []Charge) (blocks []Block, invalid int, err error) {
	v := c.engine
	args := []string{v.key("blocks"), milliseconds(v.Min), milliseconds(v.Max), strconv.Itoa(MaxSources)}
	for _, charge := range charges {
		blocked := "0"
		if charge.Blocked {
			blocked = "1"
		}
		args = append(args, charge.ID, milliseconds(charge.Least), milliseconds(charge.Amount), blocked)
	}
	message, err := mergeScript.Exec(ctx, c.client, []string{v.key("penalties")}, args).ToString()
	if err != nil {
		return nil, 0, describe(err)
	}
	blocks, invalid = decode(message)
	return blocks, invalid, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Load implements [Connection].
func (c *valkeyConnection) Load(ctx context.Context, receive func([]Block, int)) error {
	for offset := 0; offset < MaxSources; offset += maxLoad {
		n, message, err := c.loadSome(ctx, offset)
		if err != nil {
			return describe(err)
		}
		receive(decode(message))
		if n < maxLoad {
			break
		}
	}
	return nil
}

// loadSome returns the message with the blocks from an offset on, and how many sources that were.
func (c *valkeyConnection) loadSome(ctx context.Context, offset int) (n int64, message string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	keys, args := []string{c.engine.key("penalties")}, []string{strconv.Itoa(offset), strconv.Itoa(maxLoad)}
	reply, err := loadScript.Exec(ctx, c.client, keys, args).ToArray()
	if err != nil || len(reply) != 2 {
		return 0, "", errors.Join(err, shortOf(reply))
	}
	if n, err = reply[0].AsInt64(); err == nil {
		message, err = reply[1].ToString()
	}
	return n, message, err
}

func shortOf(reply []valkey.ValkeyMessage) error {
	if len(reply) == 2 || reply == nil {
		return nil
	}
	return fmt.Errorf("a reply has %d parts", len(reply))
}

// Switch implements [Connection].
func (c *valkeyConnection) Switch(ctx context.Context) (string, error) {
	text, err := c.client.Do(ctx, c.client.B().Get().Key(c.engine.key("maintenance")).Build()).ToString()
	if valkey.IsValkeyNil(err) {
		return "", nil
	}
	return text, describe(err)
}

// SetSwitch implements [Connection].
func (c *valkeyConnection) SetSwitch(ctx context.Context, text string, keep time.Duration, absent bool) error {
	key := c.engine.key("maintenance")
	set := c.client.B().Arbitrary("SET").Keys(key).Args(text)
	if keep > 0 {
		set = set.Args("PX", milliseconds(keep))
	}
	if absent {
		set = set.Args("NX")
	}
	if err := c.client.Do(ctx, set.Build()).Error(); err != nil && !valkey.IsValkeyNil(err) {
		return describe(err)
	}
	return describe(c.client.Do(ctx, c.client.B().Publish().Channel(key).Message("changed").Build()).Error())
}

// Ping implements [Connection].
func (c *valkeyConnection) Ping(ctx context.Context) error {
	set := c.client.B().Set().Key(c.engine.key("alive")).Value("1").Px(aliveFor).Build()
	return describe(c.client.Do(ctx, set).Error())
}

// Lost implements [Connection].
func (c *valkeyConnection) Lost() <-chan error { return c.lost }

// Close implements [Connection].
func (c *valkeyConnection) Close() {
	c.stop()
	c.client.Close()
}
