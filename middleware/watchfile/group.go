package watchfile

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// private reports whether the group of the file is the private one of its owner, as on Debian and Ubuntu: the owner and
// nobody else is a member. The umask there is often 002, so that the group can write every file. Debian's sshd excuses it
// too (user-group-modes.patch). A user or a group that is not in the two files has no private group.
func private(info fs.FileInfo) bool {
	passwd, passwdErr := os.ReadFile("/etc/passwd")
	group, groupErr := os.ReadFile("/etc/group")
	uid, gid := owners(info)
	return passwdErr == nil && groupErr == nil && privateGroup(string(passwd), string(group), uint32(uid), uint32(gid))
}

// privateGroup is private for the content of /etc/passwd and /etc/group. A line that it cannot parse, such as one for NIS,
// may stand for further members.
func privateGroup(passwd, group string, uid, gid uint32) bool {
	owner, found := "", false
	for fields := range entries(passwd) { // name:password:uid:gid:…
		user, err := number(fields, 2)
		primary, err2 := number(fields, 3)
		if err != nil || err2 != nil || primary == gid && user != uid {
			return false
		}
		if user == uid {
			owner, found = fields[0], found || primary == gid
		}
	}
	known := false
	for fields := range entries(group) { // name:password:gid:member,member
		id, err := number(fields, 2)
		if err != nil || len(fields) < 4 {
			return false
		}
		if id != gid {
			continue
		}
		known = true
		if fields[3] != "" && fields[3] != owner {
			return false
		}
		found = found || fields[3] != ""
	}
	return owner != "" && known && found
}

// entries returns the fields of each line that is neither blank nor a comment.
func entries(file string) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(file) {
			line = strings.TrimSpace(line)
			if line != "" && line[0] != '#' && !yield(strings.Split(line, ":")) {
				return
			}
		}
	}
}

func number(fields []string, i int) (uint32, error) {
	if i >= len(fields) {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseUint(fields[i], 10, 32)
	return uint32(n), err
}
