package content

import "strings"

// Coding is a content coding (RFC 9110, section 8.4.1), by its name in Content-Encoding; Identity is none.
type Coding string

// The codings that files are offered in.
const (
	Identity Coding = ""
	Zstd     Coding = "zstd" // RFC 8878
	Gzip     Coding = "gzip" // RFC 1952
)

// Negotiate chooses a coding by the values of a request's Accept-Encoding fields (RFC 9110, section 12.5.3). Who sends
// none gets identity, although it would have to take anything: it is firmware. Where identity is refused and nothing
// else is accepted, identity it is all the same: section 12.4 lets a server disregard the field, and no boot is to fail
// for it. A malformed member counts as not there.
func Negotiate(fields []string) Coding {
	weights := map[string]int{}
	for _, field := range fields {
		for member := range strings.SplitSeq(field, ",") {
			name, weight, ok := parseMember(member)
			if !ok {
				continue
			}
			if said, again := weights[name]; again {
				weight = min(weight, said)
			}
			weights[name] = weight
		}
	}
	weigh := func(name string) int {
		if weight, ok := weights[name]; ok {
			return weight
		}
		return weights["*"]
	}
	// Identity that is not mentioned is acceptable but comes last; at the same weight the smaller form is preferred.
	best, most := Identity, max(1, weigh("identity"))
	for _, coding := range []Coding{Gzip, Zstd} {
		if weight := weigh(string(coding)); weight >= most {
			best, most = coding, weight
		}
	}
	return best
}

// parseMember reads a coding and its weight in thousandths. Of codings that make no difference here it says no.
func parseMember(member string) (name string, weight int, ok bool) {
	name, params, weighed := strings.Cut(member, ";")
	name = strings.ToLower(strings.Trim(name, " \t"))
	switch name {
	case "x-gzip": // RFC 9110, section 8.4.1.3
		name = "gzip"
	case "zstd", "gzip", "identity", "*":
	default:
		return "", 0, false
	}
	if !weighed {
		return name, 1000, true
	}
	key, value, _ := strings.Cut(strings.Trim(params, " \t"), "=")
	if key != "q" && key != "Q" {
		return "", 0, false
	}
	weight, ok = parseWeight(value)
	return name, weight, ok
}

// parseWeight reads a qvalue (RFC 9110, section 12.4.2) as thousandths.
func parseWeight(value string) (weight int, ok bool) {
	whole, fraction, _ := strings.Cut(value, ".")
	if whole != "0" && whole != "1" || len(fraction) > 3 {
		return 0, false
	}
	for _, c := range whole + (fraction + "000")[:3] {
		if c < '0' || c > '9' {
			return 0, false
		}
		weight = 10*weight + int(c-'0')
	}
	return weight, weight <= 1000
}
