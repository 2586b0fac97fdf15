// Package username defines which user names are valid, and in which file of a directory the keys of a user are.
//
// A user name has 1 to 256 bytes of UTF-8. It contains no white space, no control character and no colon, and does not
// start with "#". Every such user can have a password and keys.
//
// The file of a user has the user's name, percent-encoded where that is necessary for a plain, visible file name:
//
//	/  \  a leading .  a trailing ~        %2F  %5C  %2E  %7E
//	the last . of alice.bak and its like   %2E
//	a % that starts one of these codes     %25
//
// The keys of DOMAIN\alice are in the file DOMAIN%5Calice. A name that needs more than 255 bytes, the limit of file
// systems, has no file. No two names have the same file, and no file is outside the directory. Hidden files and the copies
// that editors and package managers leave (alice~, #alice#, alice.bak, alice.dpkg-old) belong to no user.
//
// A name that breaks the rule only by white space, a colon or a leading "#" cannot be in a password file. Such a user can
// have keys, in a file with exactly that name, if the name needs no encoding.
package username

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Max is the maximum length of a user name in bytes, and maxFile that of a file name.
const (
	Max     = 256
	maxFile = 255
)

var (
	encoder = strings.NewReplacer(
		"/", "%2F", `\`, "%5C", "%2F", "%252F", "%5C", "%255C", "%2E", "%252E", "%7E", "%257E", "%25", "%2525")
	decoder = strings.NewReplacer("%2F", "/", "%5C", `\`, "%2E", ".", "%7E", "~", "%25", "%")
)

// copies end the names of files that editors, people and package managers leave beside a file.
var copies = []string{
	".bak", ".old", ".orig", ".rej", ".save", ".swo", ".swp", ".tmp",
	".dpkg-dist", ".dpkg-new", ".dpkg-old", ".rpmnew", ".rpmorig", ".rpmsave", ".ucf-dist", ".ucf-old",
}

// Check returns an error if name is not a valid user name.
func Check(name string) error {
	if err := checkText(name); err != nil {
		return err
	}
	switch {
	case strings.ContainsFunc(name, func(r rune) bool { return r == ':' || unicode.IsSpace(r) }):
		return fmt.Errorf("user name %q contains white space or a colon", name)
	case name[0] == '#':
		return fmt.Errorf("user name %q starts with #, like a comment", name)
	}
	return nil
}

func checkText(name string) error {
	switch {
	case name == "":
		return errors.New("empty user name")
	case len(name) > Max:
		return fmt.Errorf("user name has %d bytes, at most %d are allowed", len(name), Max)
	case !utf8.ValidString(name):
		return fmt.Errorf("user name %q is not UTF-8", name)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("user name %q contains a control character", name)
	}
	return nil
}

// ToFile returns the name of the user's file, or an error if the user cannot have one.
func ToFile(name string) (string, error) {
	file, check := encode(name), Check
	if file == name {
		check = checkText
	}
	if err := check(name); err != nil {
		return "", err
	}
	if len(file) > maxFile {
		return "", fmt.Errorf("user name %q needs a file name of %d bytes, at most %d are possible", name, len(file), maxFile)
	}
	return file, nil
}

// FromFile returns the name of the user whose file has that name, and false if it is not a user's file.
func FromFile(file string) (name string, ok bool) {
	name = decoder.Replace(file)
	own, err := ToFile(name)
	return name, err == nil && own == file
}

func encode(name string) string {
	file := encoder.Replace(name)
	if rest, hidden := strings.CutPrefix(file, "."); hidden {
		file = "%2E" + rest
	}
	if rest, backup := strings.CutSuffix(file, "~"); backup {
		file = rest + "%7E"
	}
	for _, suffix := range copies {
		if rest, isCopy := strings.CutSuffix(file, suffix); isCopy {
			file = rest + "%2E" + suffix[1:]
		}
	}
	if strings.HasPrefix(file, "#") && strings.HasSuffix(file, "#") {
		file += "%" // nobody's: a name with a leading # has no file but that of its own name
	}
	return file
}
