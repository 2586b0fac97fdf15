package watchfile

import "testing"

// The group of ada is private if ada is its only member.
func TestPrivateGroup(t *testing.T) {
	const (
		root  = "root:x:0:0:root:/root:/bin/bash\n"
		ada   = "ada:x:1000:1000:,,,:/home/ada:/bin/bash\n"
		users = root + ada
	)
	for _, tt := range []struct {
		name, passwd, group string
		uid, gid            uint32
		want                bool
	}{
		{"primary group", users, "root:x:0:\nada:x:1000:\n", 1000, 1000, true},
		{"with itself as a member", users, "ada:x:1000:ada\n", 1000, 1000, true},
		{"only as a member", users, "web:x:33:ada\n", 1000, 33, true},
		{"root's", users, "root:x:0:\n", 0, 0, true},
		{"comments and blank lines", "# users\n\n" + ada, "# groups\n\nada:x:1000:\n", 1000, 1000, true},
		{"another member", users, "ada:x:1000:bob\n", 1000, 1000, false},
		{"a second member", users, "ada:x:1000:ada,bob\n", 1000, 1000, false},
		{"a member in a second line", users, "ada:x:1000:\nada2:x:1000:bob\n", 1000, 1000, false},
		{"another account's primary group", users + "bob:x:1001:1000::/:/bin/sh\n", "ada:x:1000:\n", 1000, 1000, false},
		{"root's with another account", users + "operator:x:11:0::/:/bin/sh\n", "root:x:0:\n", 0, 0, false},
		{"nobody's", users, "staff:x:50:\n", 1000, 50, false},
		{"of another user", users, "ada:x:1000:ada\n", 0, 1000, false},
		{"an unknown owner", root, "ada:x:1000:\n", 1000, 1000, false},
		{"an unknown group", users, "root:x:0:\n", 1000, 1000, false},
		{"nis users", users + "+::::::\n", "ada:x:1000:\n", 1000, 1000, false},
		{"nis groups", users, "ada:x:1000:\n+:::\n", 1000, 1000, false},
		{"a short line", users, "ada:x:1000\n", 1000, 1000, false},
		{"nothing", "", "", 0, 0, false},
	} {
		if got := privateGroup(tt.passwd, tt.group, tt.uid, tt.gid); got != tt.want {
			t.Errorf("%s: private is %t", tt.name, got)
		}
	}
}
