package watchfile

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"time"
)

// racy is how long after a change a file may change again under the same time stamp: git's "racily clean" problem. The
// coarsest time stamps, those of FAT, count in steps of 2 s.
const racy = 2 * time.Second

// Version identifies what [ReadVersion] found. The zero Version differs from every version that was read.
type Version struct {
	info fs.FileInfo // nil if the file could not be read
	at   time.Time
	sum  [sha256.Size]byte
	err  string
}

// Unchanged reports whether the file name in root certainly still holds v. It costs one stat. If root is nil, name is a path.
// A copy that keeps the size and the modification time (cp -a, rsync -t, tar) is a change too.
func (v Version) Unchanged(root *os.Root, name string) bool {
	if v.info == nil || v.at.Sub(changed(v.info)) < racy {
		return false
	}
	stat := os.Stat
	if root != nil {
		stat = root.Stat
	}
	info, err := stat(name)
	return err == nil && os.SameFile(info, v.info) && unchanged(info, v.info)
}

// unchanged reports whether two descriptions of a file are of the same version.
func unchanged(a, b fs.FileInfo) bool {
	return changed(a).Equal(changed(b)) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

// StatVersion returns the version of a file or directory whose content is read by other means, after the call. Only
// [Version.Unchanged] uses it.
func StatVersion(path string) Version {
	v := Version{at: time.Now()}
	v.info, _ = os.Stat(path)
	return v
}

// Same reports whether both versions have the same content, or the same error.
func (v Version) Same(other Version) bool { return v.sum == other.sum && v.err == other.err }

// ReadVersion returns the content of the regular file name in root. If root is nil, name is a path. It returns an [*Error]
// that names the file path if the file has more than limit bytes, or if [Trust] does.
func ReadVersion(root *os.Root, name, path string, limit int64) (data string, v Version, err error) {
	return readVersion(root, name, path, limit, OthersWrite)
}

func readVersion(root *os.Root, name, path string, limit int64, forbidden fs.FileMode) (data string, v Version, err error) {
	v.at = time.Now() // first: a change during the reading must count as racy
	data, info, err := readFile(root, name, path, limit, forbidden)
	if err != nil {
		err = Failure(path, err)
		v.err = err.Error()
		return "", v, err
	}
	v.info, v.sum = info, sha256.Sum256([]byte(data))
	return data, v, nil
}
