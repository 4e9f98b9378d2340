package store

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/netresearch/go-cron"
)

// Limits of texts, in bytes.
const (
	maxName    = 100
	maxMessage = 1000
	maxFact    = 200 // what a machine's firmware says of itself
	maxParam   = 4096
	maxParams  = 200
)

var (
	paramName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)
	hostname  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)
)

// printable says whether s is one line of text without control and invisible characters.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// clean makes a line of at most limit bytes of what a machine sent: what cannot be printed becomes a space.
func clean(s string, limit int) string {
	if len(s) > 4*limit {
		s = strings.Clone(s[:4*limit]) // no work on what is cut anyway, and no memory
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	for len(s) > limit {
		_, last := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-last]
	}
	return strings.TrimSpace(s)
}

// line checks a text of an administrator's.
func (f *faults) line(field, s string, limit int) {
	switch {
	case len(s) > limit:
		f.add(field, nil, "longer than %d bytes", limit)
	case !printable(s):
		f.add(field, s, "holds a control character, a line break or another that cannot be printed")
	}
}

// name checks the name of an entity.
func (f *faults) name(field, s string) {
	f.line(field, s, maxName)
	if strings.TrimSpace(s) != s {
		f.add(field, s, "begins or ends with a space")
	}
	if strings.Contains(s, "/") {
		f.add(field, s, "holds a slash")
	}
}

func (f *faults) params(field string, params map[string]string) {
	if len(params) > maxParams {
		f.add(field, len(params), "more than %d of them", maxParams)
	}
	for name, value := range params {
		if !paramName.MatchString(name) {
			f.add(field, clean(name, maxName), "a name is not of letters, digits, _, . and - alone, 100 at most")
			continue
		}
		f.line(field+"."+name, value, maxParam)
	}
}

// schedule checks the five fields of cron.
func (f *faults) schedule(field, s string) {
	parser := cron.MustNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	if _, err := parser.Parse(s); err != nil && len(strings.Fields(s)) == 5 { // else the schema has said so
		f.add(field, s, "not a schedule of cron: %v", err)
	}
}

func (f *faults) hostname(field, s string) {
	if s != "" && (len(s) > 253 || !hostname.MatchString(s)) {
		f.add(field, s, "not a host name: letters, digits, dots, dashes and underscores")
	}
}
