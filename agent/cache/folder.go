package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// On disk, all on one filesystem so that a rename is atomic:
//
//	images/debian-12/linux   published objects, in their keys' paths (see escape)
//	.part/5f…                what is being written; worth something only to the extent that
//	.part/5f….journal        says so, and until the next boot also
//	.part/5f….jot
//	.part/tmp.7              small files on their way to their names
//	.meta/5f/5f…             one record per published object
const (
	partDir = ".part"
	metaDir = ".meta"
)

// folder is the store's directory. Every name goes through root; no method takes a lock.
type folder struct {
	root  *os.Root
	home  *os.File // the directory itself: holds the lock, answers statfs
	parts atomic.Uint64
	boot  string // the kernel's name for the time since it was started; "": it does not say
}

// part is a file being written. An interface for the sake of disks that fail in tests.
type part interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Sync() error
	Stat() (os.FileInfo, error)
}

var (
	errInUse   = errors.New("is in use by another process")
	errForeign = errors.New("is no cache and not empty")
)

func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &folder{root: root}
	if id, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		f.boot = strings.TrimSpace(string(id))
	}
	if err := f.take(); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// take makes the folder ours: locked until close or death, ours by its looks.
func (f *folder) take() (err error) {
	if f.home, err = f.root.Open("."); err != nil {
		return err
	}
	if err := syscall.Flock(int(f.home.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s %w: %w", f.root.Name(), errInUse, err)
	}
	if err := f.refuseForeign(); err != nil {
		return err
	}
	for _, dir := range []string{metaDir, partDir} {
		if err := f.root.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for i := range 256 {
		if err := f.root.Mkdir(fmt.Sprintf("%s/%02x", metaDir, i), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return errors.Join(f.sync(metaDir), f.sync("."))
}

// refuseForeign protects a directory named by mistake from the deletion of all that is unknown in it.
func (f *folder) refuseForeign() error {
	names, err := f.list(".")
	if err != nil {
		return err
	}
	var foreign string
	for _, entry := range names {
		switch name := entry.Name(); name {
		case metaDir, partDir:
			return nil
		case "lost+found": // where a filesystem of our own is mounted
		default:
			foreign = name
		}
	}
	if foreign != "" {
		return fmt.Errorf("%s %w: it holds %q", f.root.Name(), errForeign, foreign)
	}
	return nil
}

// openPart opens the part file of a fill: emptied, unless there is something to keep.
func (f *folder) openPart(name string, keep bool) (*os.File, error) {
	flags := os.O_RDWR | os.O_CREATE
	if !keep {
		flags |= os.O_TRUNC
	}
	return f.root.OpenFile(name, flags, 0o640)
}

// create opens a new file that is not an object's yet, which the caller closes, and removes or renames.
func (f *folder) create() (name string, file *os.File, err error) {
	name = path.Join(partDir, "tmp."+strconv.FormatUint(f.parts.Add(1), 10))
	file, err = f.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	return name, file, err
}

// parents makes the directories above p, each durable before the next. The caller holds p's
// name, so nobody removes them meanwhile.
func (f *folder) parents(p string) error {
	for _, dir := range slices.Backward(slices.Collect(above(p))) {
		err := f.root.Mkdir(dir, 0o750)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = f.sync(path.Dir(dir))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linger opens a file that is about to lose its name. An unlinked file's blocks, gigabytes perhaps,
// are freed by its last close: holding it open moves that work out of the lock under which
// the name goes. The result may be nil, which is as good to Close.
func (f *folder) linger(p string) *os.File {
	file, _ := f.root.Open(p)
	return file
}

// write makes a small file durable under name: a part file first, then the name.
func (f *folder) write(name string, data []byte) error {
	tmp, file, err := f.create()
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = f.root.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(err, f.root.Remove(tmp))
	}
	return f.sync(path.Dir(name))
}

// forgetPart makes a part file worthless.
func (f *folder) forgetPart(part string) error {
	return errors.Join(f.remove(part+journalExt), f.remove(part+jotExt))
}

// remove deletes a file that may be gone already.
func (f *folder) remove(name string) error {
	if err := f.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// sync makes the names in a directory durable.
func (f *folder) sync(dir string) error {
	d, err := f.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (f *folder) list(dir string) ([]fs.DirEntry, error) {
	d, err := f.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

// free is how many bytes the filesystem has left for us.
func (f *folder) free() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.home.Fd()), &st); err != nil {
		return 0, os.NewSyscallError("statfs", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// folds reports whether the filesystem takes names that differ in case for the same.
func (f *folder) folds() (bool, error) {
	name, file, err := f.create()
	if err != nil {
		return false, err
	}
	defer f.root.Remove(name)
	if err := file.Close(); err != nil {
		return false, err
	}
	lower, upper := name+".fold", name+".FOLD"
	if err := f.root.Rename(name, lower); err != nil {
		return false, err
	}
	defer f.root.Remove(lower)
	_, err = f.root.Lstat(upper)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// touched sets a file's modification time.
func (f *folder) touched(name string, at time.Time) error {
	return f.root.Chtimes(name, time.Time{}, at)
}

func (f *folder) close() error {
	var err error
	if f.home != nil {
		err = f.home.Close()
	}
	return errors.Join(err, f.root.Close())
}

// isOurs reports whether a name at the top of the folder is not an object's.
func isOurs(name string) bool {
	return strings.HasPrefix(name, ".") || name == "lost+found"
}
