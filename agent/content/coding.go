package content

import "github.com/pureboot/pureboot/central/wire"

// Coding is a content coding (RFC 9110, section 8.4.1), by its name in Content-Encoding; Identity is none.
type Coding string

// The codings that files are offered in.
const (
	Identity Coding = ""
	Zstd     Coding = "zstd" // RFC 8878
	Gzip     Coding = "gzip" // RFC 1952
)

// Negotiate chooses a coding by the values of a request's Accept-Encoding fields, as wire.PreferredCoding does. At the
// same weight zstd is preferred: it is smaller.
func Negotiate(fields []string) Coding {
	return Coding(wire.PreferredCoding(fields, string(Gzip), string(Zstd)))
}
