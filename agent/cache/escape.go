package cache

import "strings"

// A key's path on disk is the key itself, but for what a directory cannot hold. The escaping is
// reversible and no two keys share a path:
//
//	%xx    a byte: '%' itself, control characters, the dot that begins a name (ours are .meta and
//	       .part), and in strict form also what a filesystem may fold or refuse
//	%more  ends a piece of a name too long for one component; the next component continues it
//	%dir   ends a directory, and
//	%file  ends a file, of a path that had to step aside: a directory "a" and a file "a" cannot
//	       both exist, so of the keys "a" and "a/b" the later is stored as "a%file" or "a%dir/b%file"
//
// The words after '%' are no hex digits, so they are never mistaken for a byte.
const (
	continued = "%more"
	asideDir  = "%dir"
	asideFile = "%file"

	maxName = 255 // bytes in a path component, on every filesystem of note
)

// escape returns key's path. strict is for filesystems that fold case; aside gives the path that
// only other paths of that form could stand in the way of, and none of them does.
func escape(key Key, strict, aside bool) string {
	var path strings.Builder
	names := strings.Split(string(key), "/")
	for i, name := range names {
		if i > 0 {
			path.WriteByte('/')
		}
		escapeName(&path, name, strict)
		switch {
		case !aside:
		case i < len(names)-1:
			path.WriteString(asideDir)
		default:
			path.WriteString(asideFile)
		}
	}
	return path.String()
}

// escapeName cuts between runes, never within one or within an escape: some filesystems insist
// on valid UTF-8. What it leaves of each component has room for any of the marks.
func escapeName(path *strings.Builder, name string, strict bool) {
	const room = maxName - len(continued)
	begin := path.Len()
	for i, r := range name {
		raw := string(r)
		first := path.Len() == begin
		last := i+len(raw) == len(name)
		token := escapeRune(raw, first, last, strict)
		if path.Len()-begin+len(token) > room {
			path.WriteString(continued + "/")
			begin = path.Len()
			token = escapeRune(raw, true, last, strict)
		}
		// The one name that others make at the top of a filesystem.
		if first && name == "lost+found" {
			token = percent(raw)
		}
		path.WriteString(token)
	}
}

func escapeRune(raw string, first, last, strict bool) string {
	c := raw[0]
	switch {
	case c == '%', c < ' ', c == 0x7f, first && c == '.':
		return percent(raw)
	case !strict:
		return raw
	case 'A' <= c && c <= 'Z', c >= 0x80, strings.IndexByte(`"*:<>?\|`, c) >= 0, last && (c == '.' || c == ' '):
		return percent(raw)
	}
	return raw
}

func percent(raw string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(raw) {
		b.Write([]byte{'%', hex[raw[i]>>4], hex[raw[i]&15]})
	}
	return b.String()
}
