package wire

import (
	"slices"
	"strings"
)

// PreferredCoding chooses one of the content codings that are offered by the values of a request's Accept-Encoding
// fields (RFC 9110, section 12.5.3); of equals the last one offered, and "" is identity. Who sends no such field gets
// identity, although it would have to take anything: it is firmware, or an older build. Where identity is refused and
// nothing else is accepted, identity it is all the same: section 12.4 lets a server disregard the field, and no boot is
// to fail for it. A malformed member counts as not there.
func PreferredCoding(fields []string, offered ...string) string {
	if len(fields) == 0 {
		return ""
	}
	weights := map[string]int{}
	for _, field := range fields {
		for member := range strings.SplitSeq(field, ",") {
			name, weight, ok := parseMember(member)
			if !ok || name != "*" && name != "identity" && !slices.Contains(offered, name) {
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
	// Identity that is not mentioned is acceptable but comes last.
	best, most := "", max(1, weigh("identity"))
	for _, coding := range offered {
		if weight := weigh(coding); weight >= most {
			best, most = coding, weight
		}
	}
	return best
}

// parseMember reads a coding and its weight in thousandths.
func parseMember(member string) (name string, weight int, ok bool) {
	name, params, weighed := strings.Cut(member, ";")
	name = strings.ToLower(strings.Trim(name, " \t"))
	if name == "x-gzip" { // RFC 9110, section 8.4.1.3
		name = "gzip"
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
