package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

const (
	jotExt   = ".jot"
	jotBytes = 512 << 10 // brought since the last jot: what makes a new one

	jotPage     = 4 << 10
	jotSlots    = 2
	jotSegments = (jotPage - 8 - 4 - sha256.Size) / 16 // that a slot has room for
)

// A jot is a journal that waits for no disk: it names what the kernel has, which outlives the process but not the
// machine, and so holds only until the next boot. Its file is a journal whose Have is empty, filled up to a whole page,
// and two slots of a page each that are written in turns, in place: even the creation of a file waits for
// somebody else's sync on some filesystems.
//
// A slot is its number, which grows, the count of the segments, they, and the SHA-256 of all that.
type jot struct {
	file  *os.File
	slots int64 // their offset
	n     uint64
}

// newJot makes the file for a fill of what j describes.
func (f *folder) newJot(part string, j *journal) (*jot, error) {
	empty := *j
	empty.Have, empty.Boot = nil, f.boot
	head, err := empty.encode()
	if err != nil {
		return nil, err
	}
	slots := (len(head) + jotPage - 1) / jotPage * jotPage
	file, err := f.root.OpenFile(part+jotExt, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return nil, err
	}
	if _, err := file.Write(append(head, make([]byte, slots+jotSlots*jotPage-len(head))...)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &jot{file: file, slots: int64(slots)}, nil
}

// write notes have. What is too much for a slot is left to the journal.
func (j *jot) write(have segments) error {
	if len(have) > jotSegments {
		return nil
	}
	j.n++
	slot := binary.BigEndian.AppendUint64(nil, j.n)
	slot = binary.BigEndian.AppendUint32(slot, uint32(len(have)))
	for _, g := range have {
		slot = binary.BigEndian.AppendUint64(slot, uint64(g.Begin))
		slot = binary.BigEndian.AppendUint64(slot, uint64(g.End))
	}
	sum := sha256.Sum256(slot)
	_, err := j.file.WriteAt(append(slot, sum[:]...), j.slots+int64(j.n%jotSlots)*jotPage)
	return err
}

func (j *jot) close() error { return j.file.Close() }

// parseJot returns the journal that a jot's file is, or an error if it is none or nothing was noted.
func parseJot(data []byte) (*journal, error) {
	var lines int
	for range 2 {
		end := bytes.IndexByte(data[lines:], '\n')
		if end < 0 {
			return nil, io.ErrUnexpectedEOF
		}
		lines += end + 1
	}
	j, err := parseJournal(data[:lines])
	if err != nil {
		return nil, err
	}
	slots := data[min(len(data), (lines+jotPage-1)/jotPage*jotPage):]
	var last uint64
	for ; len(slots) >= jotPage; slots = slots[jotPage:] {
		if n, have := parseSlot(slots[:jotPage]); n > last {
			last, j.Have = n, have
		}
	}
	return j, j.check()
}

// parseSlot returns 0 for a slot that was never written, or not to its end.
func parseSlot(slot []byte) (n uint64, have segments) {
	count := int(binary.BigEndian.Uint32(slot[8:]))
	if count > jotSegments {
		return 0, nil
	}
	end := 12 + 16*count
	if Digest(sha256.Sum256(slot[:end])) != Digest(slot[end:end+sha256.Size]) {
		return 0, nil
	}
	for at := 12; at < end; at += 16 {
		have = append(have, segment{int64(binary.BigEndian.Uint64(slot[at:])), int64(binary.BigEndian.Uint64(slot[at+8:]))})
	}
	return binary.BigEndian.Uint64(slot), have
}

// keepJots notes what f has as it grows, until its streams are over. It may fail without harm.
func (f *fill) keepJots() {
	var jot *jot
	for {
		select {
		case <-f.over:
			return
		case <-f.jotDue:
		}
		if jot == nil {
			if jot = f.newJot(); jot == nil {
				return
			}
			defer jot.close()
		}
		if j := f.inventory(); j != nil && jot.write(j.Have) != nil {
			return
		}
	}
}

// newJot returns nil if there is to be none.
func (f *fill) newJot() *jot {
	f.jotting.Lock()
	defer f.jotting.Unlock()
	if f.purged.Load() || f.store.folder.boot == "" {
		return nil
	}
	jot, _ := f.store.folder.newJot(f.partName, f.identity())
	return jot
}
