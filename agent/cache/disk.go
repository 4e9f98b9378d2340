package cache

import (
	"cmp"
	"errors"
	"sync"
	"syscall"
	"time"
)

// probeEvery is how often a disk that failed is tried.
const probeEvery = 5 * time.Second

// DiskState says how the disk takes what is to be stored.
type DiskState string

// The states of a disk.
const (
	DiskOK      DiskState = "ok"
	DiskFull    DiskState = "full"    // or so full that the cache may take no more of it
	DiskFailing DiskState = "failing" // it gives errors, takes no writes, or is not there
)

// Disk is the state of the disk. What is not stored is passed through meanwhile; the disk is tried every few seconds.
type Disk struct {
	State   DiskState `json:"state"`
	Since   time.Time `json:"since"`
	Error   string    `json:"error,omitempty"` // the last, also if all is well again
	ErrorAt time.Time `json:"error_at,omitzero"`
}

// health watches the disk.
type health struct {
	mu      sync.Mutex
	disk    Disk
	refuses bool // nothing is to be stored, until the disk has been tried
	probing bool
	closed  bool
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// diskError reports that the disk fails.
func (s *Store) diskError(action string, key Key, err error) {
	s.count.diskErrors.Add(1)
	s.log.Error("cache disk fails", "action", action, "key", key, "err", err)
	state := DiskFailing
	if isFull(err) {
		state = DiskFull
	}
	s.unwell(state, action+": "+err.Error(), false)
}

// unwell notes the state of the disk, and has it tried. refuse says that nothing is to be stored until then.
func (s *Store) unwell(state DiskState, why string, refuse bool) {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.disk.State != state {
		h.disk.State, h.disk.Since = state, now
	}
	h.disk.Error, h.disk.ErrorAt = why, now
	h.refuses = h.refuses || refuse
	if !h.probing && !h.closed {
		h.probing = true
		s.running.Go(s.probe)
	}
}

// well notes that something was stored.
func (s *Store) well() {
	h := &s.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.disk.State != DiskOK {
		s.log.Info("cache disk takes data again", "was", h.disk.State, "since", h.disk.Since)
		h.disk.State, h.disk.Since = DiskOK, time.Now()
	}
	h.refuses = false
}

// refusing reports whether it is not worth trying to store anything.
func (s *Store) refusing() bool {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.refuses
}

func (s *Store) disk() Disk {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	return s.health.disk
}

// probe tries the disk until it takes data again.
func (s *Store) probe() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		h := &s.health
		h.mu.Lock()
		if h.disk.State == DiskOK {
			h.probing = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if s.tryDisk() == nil {
			s.well()
		}
	}
}

var errLowSpace = errors.New("less space is free than is to be left free")

// tryDisk does what storing needs.
func (s *Store) tryDisk() error {
	s.mu.RLock()
	f, least := s.folder, s.opts.MinFreeBytes
	s.mu.RUnlock()
	if f == nil {
		return s.reopen()
	}
	if err := f.try(); err != nil {
		return err
	}
	free, err := f.free()
	if err != nil || free < least {
		return cmp.Or(err, errLowSpace)
	}
	if s.readOnly.Load() {
		return s.makeWritable()
	}
	return nil
}

// try writes as much as a fill does at once.
func (f *folder) try() error {
	name, file, err := f.create()
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, ChunkSize))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close(), f.root.Remove(name))
}

// reopen opens the folder that could not be opened at first.
func (s *Store) reopen() error {
	f, err := openFolder(s.opts.Dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.folder = f
	if err := s.recover(); err != nil {
		s.folder = nil
		return errors.Join(err, f.close())
	}
	if s.readOnly.Load() {
		return syscall.EROFS
	}
	return nil
}

// makeWritable does what was left undone when the folder took no writes.
func (s *Store) makeWritable() error {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	strict, err := s.folder.folds()
	if err != nil {
		return err
	}
	s.names.strict = strict
	s.recoverPurges()
	s.readOnly.Store(false)
	s.recoverParts(&freed)
	s.fitLimits(&freed)
	return nil
}
