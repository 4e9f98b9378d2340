package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/central/wire"
)

// prose returns about n bytes of text that compress well.
func prose(seed, n int) []byte {
	var text strings.Builder
	for i := 0; text.Len() < n; i++ {
		fmt.Fprintf(&text, "d-i partman/line-%d string %d\n", i, seed)
	}
	return []byte(text.String())
}

func TestWhatMayHaveVariants(t *testing.T) {
	for name, want := range map[string]bool{
		"templates/preseed.cfg": true, "scripts/late.sh": true, "scripts/late": true, "templates/meta-data": true, "images/debian/info.json": true,
		"images/README.TXT": true, "bootloaders/grub.cfg": true, "templates/autounattend.xml": true, "images/a.gz/list.txt": true,
		"images/debian/linux": false, "images/debian/initrd.img": false, "bootloaders/ipxe.efi": false, "images/page.html": false,
		"scripts/tools.tar.gz": false, "templates/late.cfg.xz": false, "scripts/a.zst": false, "templates/logo.png": false, "scripts/A.GZ": false,
	} {
		category, path := Split(cache.Key(name))
		if got := (Info{Category: category, Path: path, Size: 10_000}).Negotiable(); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
	for size, want := range map[int64]bool{0: false, 512: false, 513: true, 8<<20 - 1: true, 8 << 20: false} {
		if got := (Info{Category: wire.Scripts, Path: "a", Size: size}).Negotiable(); got != want {
			t.Errorf("%d bytes: %t", size, got)
		}
	}
}

// stored puts a file into the site's cache and returns what it is.
func (s *site) stored(t testing.TB, central *countingCentral, name string, body []byte) Info {
	t.Helper()
	category, path, _ := strings.Cut(name, "/")
	central.put(category, path, body)
	s.wantFile(t, name, body, Miss)
	info, _, err := s.Stat(t.Context(), category, path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// variant waits until the variant is derived, or found not to be worth it.
func (s *site) variant(t testing.TB, info Info, coding Coding) []byte {
	t.Helper()
	id := variantID{info.SHA256, coding}
	eventually(t, func() bool {
		s.Variant(t.Context(), info, coding)
		_, ok := s.variants.get(id)
		return ok
	})
	data, _ := s.variants.get(id)
	return data
}

func TestAHerdDerivesAVariantOnce(t *testing.T) {
	central := newCentral()
	s := openSite(t, central)
	info := s.stored(t, central, "templates/big.cfg", prose(1, 4<<20))
	var herd sync.WaitGroup
	for range 200 {
		herd.Go(func() {
			if data, ok := s.Variant(t.Context(), info, Zstd); ok && (len(data) == 0 || int64(len(data)) > info.Size/2) {
				t.Errorf("a variant of %d bytes", len(data))
			}
		})
	}
	herd.Wait()
	s.variant(t, info, Zstd)
	again := s.stored(t, central, "templates/elsewhere.cfg", prose(1, 4<<20)) // the same bytes by another name
	if _, ok := s.Variant(t.Context(), again, Zstd); !ok {
		t.Error("a file of the same bytes does not share the variant")
	}
	if s.variants.derived != 1 {
		t.Errorf("derived %d times", s.variants.derived)
	}
}

func TestWhatHardlyShrinksIsTriedOnce(t *testing.T) {
	central := newCentral()
	s := openSite(t, central)
	for i, body := range [][]byte{
		noise(1, 100_000), // grows
		append(noise(2, 95_000), bytes.Repeat([]byte("a"), 5_000)...), // by less than a tenth
		bytes.Repeat([]byte("ab"), 260),                               // by less than 512 bytes
	} {
		info := s.stored(t, central, fmt.Sprintf("scripts/%d", i), body)
		for _, coding := range []Coding{Zstd, Gzip} {
			s.variants.derived = 0
			if data := s.variant(t, info, coding); data != nil {
				t.Errorf("%d bytes became %d of %s", len(body), len(data), coding)
			}
			if data, ok := s.Variant(t.Context(), info, coding); ok || s.variants.derived != 1 {
				t.Errorf("asked again: %d bytes, derived %d times", len(data), s.variants.derived)
			}
		}
	}
}

func TestNoVariantOfWhatIsNotHere(t *testing.T) {
	central := newCentral()
	body := central.put(wire.Scripts, "late.sh", prose(1, 10_000))
	s := openSite(t, central)
	s.pull(t, central)
	info, _, err := s.Stat(t.Context(), wire.Scripts, "late.sh")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Variant(t.Context(), info, Zstd); ok {
		t.Error("a variant of a file that was never fetched")
	}
	s.wantFile(t, "scripts/late.sh", body, Miss)
	old := info
	old.SHA256[0]++
	if _, ok := s.Variant(t.Context(), old, Zstd); ok {
		t.Error("a variant of a version that is not here")
	}
	if _, ok := s.Variant(t.Context(), info, Identity); ok {
		t.Error("the file itself is a variant")
	}
	if s.variants.derived != 0 {
		t.Errorf("derived %d times", s.variants.derived)
	}
}

func TestADamagedFileHasNoVariant(t *testing.T) {
	central := newCentral()
	s := openSite(t, central)
	body := prose(1, 10_000)
	info := s.stored(t, central, "scripts/late.sh", body)
	body = bytes.Clone(body)
	body[5000] ^= 1
	if err := os.WriteFile(s.dir+"/cache/scripts/late.sh", body, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 2; n++ {
		if _, ok := s.Variant(t.Context(), info, Zstd); ok {
			t.Error("a variant of other bytes")
		}
		eventually(t, func() bool {
			s.variants.mu.Lock()
			defer s.variants.mu.Unlock()
			return s.variants.derived >= n
		})
	}
}

// TestAVariantGoesWithItsFile: it is served only while the version is here that it was derived from.
func TestAVariantGoesWithItsFile(t *testing.T) {
	central := newCentral()
	s := openSite(t, central)
	old := s.stored(t, central, "scripts/late.sh", prose(1, 10_000))
	other := s.stored(t, central, "scripts/other.sh", prose(2, 10_000))
	for _, info := range []Info{old, other} {
		s.variant(t, info, Zstd)
		s.variant(t, info, Gzip)
	}
	bytes := s.VariantStats().Bytes

	central.put(wire.Scripts, "late.sh", prose(3, 20_000))
	s.pull(t, central)
	if _, ok := s.Variant(t.Context(), old, Zstd); !ok {
		t.Error("no variant of a version that may still be served")
	}
	s.wantFile(t, "scripts/late.sh", prose(3, 20_000), Miss)
	if _, ok := s.Variant(t.Context(), old, Zstd); ok {
		t.Error("a variant of a version that was replaced")
	}
	info, _, err := s.Stat(t.Context(), wire.Scripts, "late.sh")
	if err != nil {
		t.Fatal(err)
	}
	if data := s.variant(t, info, Zstd); data == nil {
		t.Error("no variant of the new version")
	}
	if st := s.VariantStats(); st.Entries != 3 || st.Derived != 5 || st.Bytes >= bytes {
		t.Errorf("the old version's are still kept: %+v", st)
	}

	if err := s.cache.Remove("scripts/late.sh"); err != nil { // as an eviction does
		t.Fatal(err)
	}
	if _, ok := s.Variant(t.Context(), info, Zstd); ok {
		t.Error("a variant of what was evicted")
	}
	central.remove(wire.Scripts, "other.sh")
	s.pull(t, central)
	if _, ok := s.Variant(t.Context(), other, Zstd); ok {
		t.Error("a variant of what was removed")
	}
	if st := s.VariantStats(); st.Entries != 0 || st.Bytes != 0 {
		t.Errorf("kept without their files: %+v", st)
	}
}

func TestAfterCloseNothingIsDerived(t *testing.T) {
	central := newCentral()
	s := openSite(t, central)
	info := s.stored(t, central, "scripts/late.sh", prose(1, 10_000))
	s.Files.Close()
	if _, ok := s.Variant(context.Background(), info, Zstd); ok || len(s.variants.running) != 0 {
		t.Errorf("a variant after the end; %d run", len(s.variants.running))
	}
}

func TestTheVariantsAreBounded(t *testing.T) {
	id := func(n int) variantID { return variantID{sha256.Sum256(fmt.Append(nil, n)), Zstd} }
	derive := func(v *variants, n int, data []byte) {
		if _, first := v.begin(id(n)); !first {
			t.Fatalf("%d does not begin", n)
		}
		v.end(cache.Key(fmt.Sprint(n)), id(n), data, nil)
	}
	v := newVariants()
	for n := range 100 {
		derive(v, n, make([]byte, 1<<20))
		v.get(id(0))
	}
	if _, ok := v.get(id(0)); !ok || v.bytes != maxVariantBytes || len(v.kept) != 32 || v.recent.Len() != 32 {
		t.Errorf("kept the one in use: %t; %d bytes in %d", ok, v.bytes, len(v.kept))
	}
	if done, first := v.begin(id(0)); done == nil || first || len(v.running) != 0 {
		t.Error("one that is kept begins again")
	}
	v = newVariants()
	for n := range maxVariants + 10 {
		derive(v, n, nil)
	}
	if len(v.kept) != maxVariants || v.recent.Len() != maxVariants {
		t.Errorf("kept %d that are not worth it", len(v.kept))
	}
	a, _ := v.begin(id(-1))
	b, _ := v.begin(id(-2))
	if c, first := v.begin(id(-3)); a == nil || b == nil || c != nil || first {
		t.Error("a third begins beside two")
	}
	if same, first := v.begin(id(-1)); same != a || first {
		t.Error("one that runs begins again")
	}
	v.end("a", id(-1), nil, errClosed)
	if _, ok := v.get(id(-1)); ok {
		t.Error("an error is kept as if it were an answer")
	}
	if c, first := v.begin(id(-3)); c == nil || !first {
		t.Error("none begins when one has ended")
	}
}
