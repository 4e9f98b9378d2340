// Package durable replaces small files as a whole: whoever reads one, also after a power cut, finds the old text or the
// new one.
//
// What root makes belongs to whom the directory around it belongs to, so that a command that root runs for a service
// leaves it what it can read.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
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
	hand(f, dir)
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

// Touch makes an empty file, unless there is something of that name.
func Touch(name string, mode fs.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	hand(f, filepath.Dir(name))
	return f.Close()
}

// Folder makes a directory, and those that it is in, unless it is there.
func Folder(name string, mode fs.FileMode) error {
	if os.Mkdir(name, mode) != nil {
		return os.MkdirAll(name, mode)
	}
	f, err := os.OpenFile(name, syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	hand(f, filepath.Dir(name))
	return f.Close()
}

// hand gives what root has just made, and nothing that was there before, to whom the directory around it belongs to. Where
// that cannot be done, as when the owner has no name in our namespace, it stays root's.
func hand(f *os.File, dir string) {
	if os.Geteuid() != 0 {
		return
	}
	if info, err := os.Stat(dir); err == nil {
		if of, ok := info.Sys().(*syscall.Stat_t); ok && of.Uid != 0 {
			_ = f.Chown(int(of.Uid), int(of.Gid))
		}
	}
}
