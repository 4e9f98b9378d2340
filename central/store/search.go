package store

import (
	"strings"
	"unicode"

	"entgo.io/ent/dialect"
	"entgo.io/ent/dialect/sql"
)

// containing selects the rows that hold a text in a column, in any case. Beyond ASCII neither SQLite nor PostgreSQL in
// the locale C knows which letters are the same; a text with such letters becomes a pattern that names each case.
func containing(column, text string) func(*sql.Selector) {
	return func(s *sql.Selector) {
		postgres := s.Dialect() == dialect.Postgres
		ascii := strings.IndexFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) < 0
		var operator, pattern string
		switch {
		case ascii && postgres:
			operator, pattern = "ILIKE", "%"+likeAsIs.Replace(text)+"%"
		case ascii:
			operator, pattern = "LIKE", "%"+likeAsIs.Replace(text)+"%"
		case postgres:
			operator, pattern = "~", anyCase(text, `.^$*+?()[]{}|\`, `\`, "")
		default:
			operator, pattern = "GLOB", "*"+anyCase(text, "*?[", "[", "]")+"*"
		}
		s.Where(sql.P(func(b *sql.Builder) {
			b.Ident(s.C(column)).WriteString(" " + operator + " ").Arg(pattern)
			if ascii {
				b.WriteString(` ESCAPE '\'`)
			}
		}))
	}
}

// likeAsIs has LIKE take a text as it is.
var likeAsIs = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)

// anyCase returns a pattern in which a letter stands for itself in any case, and what is special in patterns, between
// before and after, for itself.
func anyCase(text, special, before, after string) string {
	var pattern strings.Builder
	for _, r := range text {
		cases := []rune{r}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			cases = append(cases, other)
		}
		switch {
		case len(cases) > 1:
			pattern.WriteString("[" + string(cases) + "]")
		case strings.ContainsRune(special, r):
			pattern.WriteString(before + string(r) + after)
		default:
			pattern.WriteRune(r)
		}
	}
	return pattern.String()
}
