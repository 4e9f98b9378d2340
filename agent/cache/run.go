package cache

import (
	"context"
	"errors"
	"time"
)

// run carries f from its reservation to its end.
func (s *Store) run(f *fill) {
	begin := time.Now()
	published := false
	f.ctx, f.cancel = context.WithCancel(s.ctx)
	defer f.cancel()
	err := s.prepare(f)
	if err == nil {
		f.mu.Lock()
		if size := f.obj.Size; size >= 0 && f.have.covers(segment{0, size}) {
			f.settleLocked(f.finishWhole(f.have))
		}
		resumable := f.resumable()
		f.mu.Unlock()
		f.receive() // before a reader can demand what has arrived already
		close(f.ready)
		if len(f.unproven) > 0 {
			f.streams.Go(f.prove)
		}
		if resumable {
			f.streams.Go(f.keepJournal)
			f.streams.Go(f.keepJots)
		}
		select {
		case <-f.over:
		case <-s.ctx.Done():
			f.settle(context.Cause(s.ctx))
		}
		f.cancel()
		f.streams.Wait()
		if err = f.result; err == nil {
			published, err = s.publish(f)
		}
	} else {
		f.settle(err)
	}
	leave := err != nil && f.leaveBehind(err)
	if f.part != nil {
		f.part.Close()
	}
	f.mu.Lock()
	if f.first != nil {
		f.first.Body.Close()
		f.first = nil
	}
	f.mu.Unlock()
	s.finish(f, err, published, leave)

	log := s.log.With("key", f.id.key, "bytes", f.obj.Size, "took", time.Since(begin))
	switch {
	case err == nil:
		log.Debug("object fetched", "stored", published)
	case errors.Is(err, ErrClosed), errors.Is(err, errParked):
	case f.refused:
		log.Debug("nothing to fetch", "err", err)
	case errors.Is(err, ErrNotStored):
		log.Warn("object cannot be stored and is passed through", "err", err)
	default:
		log.Warn("fill failed", "err", err)
	}
}

// finish ends f for its readers and for those who look for it at once: a fill that is not among the
// fills any more was published, or is over and says why.
func (s *Store) finish(f *fill, err error, published, leave bool) {
	var freed closers
	defer freed.close() // after mu
	s.mu.Lock()
	defer s.mu.Unlock()
	if leave {
		j := s.readPart(f.partName)
		if leave = j != nil && !f.purged.Load(); leave {
			s.rememberPart(j, &freed)
		}
	}
	if f.part != nil && !leave {
		err := s.folder.forgetPart(f.partName)
		if !published {
			freed.add(s.folder.linger(f.partName))
			err = errors.Join(err, s.folder.remove(f.partName))
		}
		if err != nil {
			s.diskError("remove part file", f.id.key, err)
		}
	}
	if s.fills[f.id] == f { // published, it is not there any more, and perhaps another one is
		delete(s.fills, f.id)
	}
	delete(s.adrift, f)
	if f.relay.Load() != nil {
		s.relays.Add(-1)
	}
	s.release(f.id.key)
	switch {
	case err == nil:
		s.count.fills.Add(1)
	case !errors.Is(err, errParked) && !f.refused:
		s.count.fillErrors.Add(1)
	}
	f.end(err)
}

func (s *Store) prepare(f *fill) error {
	if f.id.opaque {
		if err := s.arrive(f); err != nil {
			f.refused = true
			return err
		}
	}
	if err := s.reserve(f); err != nil {
		return err
	}
	p, err := s.createPart(f.partName, f.resumes != nil)
	if err != nil {
		return s.notStored(f, "create part file", err)
	}
	f.part = p
	if f.resumes != nil {
		f.adopt(f.resumes)
		s.count.adopted.Add(1)
	}
	return nil
}
