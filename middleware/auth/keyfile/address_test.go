package keyfile

import (
	"net/netip"
	"testing"
)

func TestNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1/32", "10.0.0.0/8": "10.0.0.0/8", "::1": "::1/128", "2001:db8::/32": "2001:db8::/32", "0.0.0.0/0": "0.0.0.0/0",
	} {
		if got, err := Network(text); err != nil || got != netip.MustParsePrefix(want) {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "fe80::1%eth0", "10.0.0", "example.com", "10.0.0.0/08"} {
		if got, err := Network(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
