// Package durable replaces small files as a whole: whoever reads one, also after a power cut, finds the old text or the
// new one.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace makes data the text of the file name, which need not exist; its directory has to. When it returns nil the file
// and its name have reached the disk. After an error the file is as it was, unless only the directory could not be synced:
// then it has the new text, which a power cut may still take back. Of calls for one name at once, one wins.
func Replace(name string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, ".tmp-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
