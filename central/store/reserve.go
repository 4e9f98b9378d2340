package store

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
)

// reserveBytes is how much of the disk is set aside. SQLite needs 32 KiB for the index of its log before it can even
// read, and makes it anew at each start.
const reserveBytes = 256 << 10

// reserveFile is the file that holds the room for a start on a full disk, by taking it. Its bytes are random, or some
// filesystems would make nothing of them.
func reserveFile(database string) string { return database + ".reserve" }

// setAside takes the room, if it is there to take and not taken yet. If it is not, the next call may find it.
func setAside(database string) error {
	name := reserveFile(database)
	if info, err := os.Stat(name); err == nil && info.Size() == reserveBytes {
		return nil
	}
	room := make([]byte, reserveBytes)
	rand.Read(room) // never fails
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(room)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// giveBack gives the room to whoever needs it now, and says whether there was any.
func giveBack(database string) (bool, error) {
	err := os.Remove(reserveFile(database))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// keepReserve sets the room aside. That it cannot is no fault of the database's, and is tried again.
func (s *Store) keepReserve() {
	if s.file == "" {
		return
	}
	if err := setAside(s.file); err != nil {
		s.log.Warn("the disk is so full that central could not start on it", "err", err)
	}
}
