package httpcache

import "testing"

func TestCheckPart(t *testing.T) {
	var (
		tagged = []string{`ETag: "a"`, "Date: DATE+0", "Content-Length: 100"}
		dated  = []string{"Last-Modified: DATE-3600", "Date: DATE+0", "Content-Length: 100"}
		young  = []string{"Last-Modified: DATE-3600", "Date: DATE-3590", "Content-Length: 100"}
		open   = []string{`ETag: "a"`, "Date: DATE+0"}
		coded  = []string{`ETag: "a"`, "Date: DATE+0", "Content-Encoding: gzip", "Content-Length: 100"}
		want   = Span{40, 100}
	)
	t.Run("14.4: unsatisfied 206 at the beginning", func(t *testing.T) {
		_, got := CheckPart(stored(tagged...), Span{0, 100}, exchange(206, `ETag: "a"`, "Content-Range: bytes */100"))
		same(t, "continuation", got, Unusable)
	})
	for _, tt := range []struct {
		name   string
		stored []string
		status int
		lines  []string
		want   Continuation
	}{
		{"3.4: same strong tag", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes 40-99/100"}, Continues},
		{"3.4: same strong date", dated, 206, []string{"Last-Modified: DATE-3600", "Date: DATE+0", "Content-Range: bytes 40-99/100"}, Continues},
		{"3.4: less than was asked for", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes 40-59/100"}, Continues},
		{"3.4: size not told", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes 40-99/*"}, Continues},
		{"3.4: size not known before", open, 206, []string{`ETag: "a"`, "Content-Range: bytes 40-99/100"}, Continues},
		{"3.4: another strong tag", tagged, 206, []string{`ETag: "b"`, "Content-Range: bytes 40-99/100"}, Replaced},
		{"3.4: another strong date", dated, 206, []string{"Last-Modified: DATE-1800", "Date: DATE+0", "Content-Range: bytes 40-99/100"}, Replaced},
		{"3.4: same date, but a tag of which nothing is known", dated, 206, []string{`ETag: "a"`, "Last-Modified: DATE-3600", "Content-Range: bytes 40-99/100"}, Replaced},
		{"3.4: same date, which was a weak one when it was stored", young, 206, []string{"Last-Modified: DATE-3600", "Date: DATE+0", "Content-Range: bytes 40-99/100"}, Replaced},
		{"3.4: another coding", tagged, 206, []string{`ETag: "a"`, "Content-Encoding: gzip", "Content-Range: bytes 40-99/100"}, Replaced},
		{"3.4: the same coding", coded, 206, []string{`ETag: "a"`, "Content-Encoding: gzip", "Content-Range: bytes 40-99/100"}, Continues},
		{"3.4: weak tag", tagged, 206, []string{`ETag: W/"a"`, "Content-Range: bytes 40-99/100"}, Unusable},
		{"3.4: weak date", dated, 206, []string{"Last-Modified: DATE-3600", "Date: DATE-3590", "Content-Range: bytes 40-99/100"}, Unusable},
		{"3.4: no validator", tagged, 206, []string{"Content-Range: bytes 40-99/100"}, Unusable},
		{"15.3.7: begins elsewhere", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes 41-99/100"}, Unusable},
		{"15.3.7: begins at the beginning", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes 0-99/100"}, Unusable},
		{"15.3.7: ends behind what was asked for", open, 206, []string{`ETag: "a"`, "Content-Range: bytes 40-100/101"}, Unusable},
		{"15.3.7: another size", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes 40-98/99"}, Unusable},
		{"15.3.7: no Content-Range", tagged, 206, []string{`ETag: "a"`}, Unusable},
		{"15.3.7: many parts", tagged, 206, []string{`ETag: "a"`, "Content-Type: multipart/byteranges; boundary=x"}, Unusable},
		{"14.4: malformed Content-Range", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes 40-99"}, Unusable},
		{"14.4: other unit", tagged, 206, []string{`ETag: "a"`, "Content-Range: lines 40-99/100"}, Unusable},
		{"14.4: unsatisfied 206", tagged, 206, []string{`ETag: "a"`, "Content-Range: bytes */100"}, Unusable},

		{"13.1.5: whole of the same", tagged, 200, []string{`ETag: "a"`, "Content-Length: 100"}, Repeats},
		{"13.1.5: whole of the same without length", tagged, 200, []string{`ETag: "a"`}, Repeats},
		{"13.1.5: whole of another", tagged, 200, []string{`ETag: "b"`, "Content-Length: 100"}, Replaced},
		{"13.1.5: whole of the same tag with another length", tagged, 200, []string{`ETag: "a"`, "Content-Length: 99"}, Replaced},
		{"13.1.5: nothing of the same tag", tagged, 200, []string{`ETag: "a"`, "Content-Length: 0"}, Replaced},
		{"13.1.5: something where nothing was", []string{`ETag: "a"`, "Content-Length: 0"}, 200, []string{`ETag: "a"`, "Content-Length: 5"}, Replaced},
		{"13.1.5: whole without validator", tagged, 200, []string{"Content-Length: 100"}, Replaced},
		{"13.1.5: whole with a weak tag", tagged, 200, []string{`ETag: W/"a"`, "Content-Length: 100"}, Replaced},
		{"13.1.5: whole in another coding", tagged, 200, []string{`ETag: "a"`, "Content-Encoding: gzip", "Content-Length: 100"}, Replaced},
		{"14.4: 200 with Content-Range", tagged, 200, []string{`ETag: "b"`, "Content-Range: bytes 40-99/100"}, Unusable},

		{"15.5.17: another size", tagged, 416, []string{"Content-Range: bytes */40"}, Replaced},
		{"15.5.17: the size that is known", tagged, 416, []string{"Content-Range: bytes */100"}, Unusable},
		{"15.5.17: no size", tagged, 416, nil, Unusable},
		{"3.4: error", tagged, 503, nil, Unusable},
		{"3.4: not found", tagged, 404, nil, Unusable},
		{"3.4: not modified", tagged, 304, []string{`ETag: "a"`}, Unusable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			part, got := CheckPart(stored(tt.stored...), want, exchange(tt.status, tt.lines...))
			same(t, "continuation", got, tt.want)
			if got == Continues && (part.Start != want.Start || part.End > want.End) {
				t.Errorf("part = %v", part)
			}
		})
	}
}
