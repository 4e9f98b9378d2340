// Package cache keeps bytes by key: small ones in memory, all of them on disk, each fetched once
// however many ask.
//
// A request's path: Fetch(key, object, source) looks in the hot tier, then at the published files,
// then for a running fill of that very version, and only then starts one. The fill belongs to the
// store: it reads the source chunk by chunk, checks each chunk's digest, writes it to a part file and
// wakes the readers that wait for it; the last chunk makes the part file a published one. A Reader
// follows a fill with a descriptor of its own, so that nobody waits for anybody else's network.
//
// Of such an object nothing unverified is ever read: a digest is known before a byte is asked for. Opaque
// objects, whose digests nobody knows beforehand, go the same way by Stream: the Origin's answer, an
// Arrival, says what they are, their bytes are readable as they come, and are those of one version or
// an error. Current and All tell what is here, GetVersion reads it, SetMeta replaces what the caller keeps
// with it. Where the bytes come from, and what a version means, is the caller's: the package knows neither
// HTTP nor central.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// ChunkSize is the unit of verification in bytes: every chunk of an object but the last has it.
const ChunkSize = 256 << 10

// maxKeyLen bounds a key, in bytes, so that a stranger's URL cannot grow the index without limit.
const maxKeyLen = 1024

var (
	// ErrBadKey refuses a key that is not a clean relative path.
	ErrBadKey = errors.New("bad cache key")
	// ErrBadObject refuses an object whose size, chunks and digest cannot belong together.
	ErrBadObject = errors.New("bad object description")
	// ErrCorrupt ends a fill whose source sent the same chunk wrong twice, or chunks that
	// do not add up to the whole digest.
	ErrCorrupt = errors.New("source sends corrupt data")
	// ErrClosed is what a closed store answers, and what Close tells the fills it stops.
	ErrClosed = errors.New("cache is closed")
)

// Key names an object: slash-separated, valid by fs.ValidPath and not ".", at most 1024 bytes,
// such as "images/debian-12/linux".
type Key string

// Validate reports ErrBadKey, or nil.
func (k Key) Validate() error {
	if !fs.ValidPath(string(k)) || k == "." || len(k) > maxKeyLen {
		return fmt.Errorf("%w: %.100q", ErrBadKey, string(k))
	}
	return nil
}

// Digest is a SHA-256. As text it is 64 lower-case hex digits.
type Digest [sha256.Size]byte

// ParseDigest reads 64 hex digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if hex.DecodedLen(len(s)) != len(d) {
		return Digest{}, fmt.Errorf("digest of %d characters, want %d", len(s), hex.EncodedLen(len(d)))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("digest: %w", err)
	}
	return d, nil
}

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	parsed, err := ParseDigest(string(text))
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Object is the identity of one version of a key's bytes. Its fields are not changed after it has
// been handed to the store or received from it; Chunks is shared, not copied.
type Object struct {
	Size     int64
	SHA256   Digest
	Chunks   []Digest  // of each ChunkSize piece in order; the last piece may be shorter
	Version  string    // of an opaque object, which has no Chunks and perhaps no SHA256 (see Arrival); else ""
	Modified time.Time // as the origin says; kept, never interpreted
}

// Validate reports ErrBadObject if Size, Chunks and the digest of nothing disagree, or nil.
func (o Object) Validate() error {
	if o.Version != "" && o.Size >= 0 && o.Chunks == nil {
		return nil
	}
	if o.Size < 0 || o.Version != "" || o.SHA256 == (Digest{}) || int64(len(o.Chunks)) != chunkCount(o.Size) {
		return fmt.Errorf("%w: %d chunks for %d bytes", ErrBadObject, len(o.Chunks), o.Size)
	}
	if o.Size == 0 && !o.is(nil) {
		return fmt.Errorf("%w: no bytes, but digest %v", ErrBadObject, o.SHA256)
	}
	return nil
}

// is reports whether data is the object, as far as can be told.
func (o Object) is(data []byte) bool {
	return int64(len(data)) == o.Size && (o.SHA256 == Digest{} || Digest(sha256.Sum256(data)) == o.SHA256)
}

// objectVersion tells the versions of a key apart.
type objectVersion struct {
	digest Digest // zero for an opaque object
	name   string
}

func (o Object) version() objectVersion {
	if o.Version != "" {
		return objectVersion{name: o.Version}
	}
	return objectVersion{digest: o.SHA256}
}

// chunkLen is the length of chunk i, ChunkSize but for the last.
func (o Object) chunkLen(i int64) int64 { return min(ChunkSize, o.Size-i*ChunkSize) }

func chunkCount(size int64) int64 {
	n := size / ChunkSize
	if size%ChunkSize != 0 {
		n++
	}
	return n
}

// Describe reads r to its end and returns its description, Modified being left zero.
func Describe(r io.Reader) (Object, error) {
	var (
		o     Object
		whole = sha256.New()
		chunk = sha256.New()
	)
	for {
		n, err := io.CopyN(io.MultiWriter(whole, chunk), r, ChunkSize)
		if n > 0 {
			o.Size += n
			o.Chunks = append(o.Chunks, Digest(chunk.Sum(nil)))
			chunk.Reset()
		}
		switch {
		case errors.Is(err, io.EOF):
			o.SHA256 = Digest(whole.Sum(nil))
			return o, nil
		case err != nil:
			return Object{}, err
		}
	}
}

// Source reads one version of one object from offset on: to its end, or at least length bytes of it
// when length > 0. The store calls it with a context of its own (the reader's for a pass-through),
// one call at a time per fill but for the second reading of a bad chunk, and closes every body.
//
// An error, or a body that ends early, is a cut: Source is called again with the offset reached,
// after a pause that grows. An error wrapped by backoff.Permanent ends the fill at once. Bytes beyond
// the object's size are never read. A body with a method Received() int64 is decoded as it is read: what it
// says it has received is what the transfer counts and pays for. A Source that finds another version at its origin must fail
// permanently rather than send it, although the digests would catch it.
type Source func(ctx context.Context, offset, length int64) (io.ReadCloser, error)
