package gateway

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/pureboot/pureboot/agent/cache"
)

// wantsDigest is whether a Repr-Digest (RFC 9530, section 3) goes with an answer: where Want-Repr-Digest asks for SHA-256,
// and with every HEAD, by which somebody finds out what there is. Nobody else gets one: the entity tag says the same, and
// a header that firmware has no use for is not to lengthen each answer of a herd.
func wantsDigest(r *http.Request) bool {
	return r.Method == http.MethodHead || prefersSHA256(r.Header.Values("Want-Repr-Digest"))
}

// prefersSHA256 reads Want-Repr-Digest (RFC 9530, section 4), a dictionary (RFC 9651, section 3.2) of algorithms and their
// weights from 1 to 10; 0 is not acceptable. What is malformed counts as not there.
func prefersSHA256(fields []string) bool {
	wanted := false
	for _, field := range fields {
		for member := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(strings.Trim(member, " \t"), "=")
			if name != "sha-256" {
				continue
			}
			value, _, _ = strings.Cut(value, ";") // parameters, of which there are none yet
			weight, err := strconv.ParseUint(value, 10, 8)
			wanted = err == nil && 1 <= weight && weight <= 10 // the last one counts
		}
	}
	return wanted
}

func reprDigest(sum cache.Digest) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// digested keeps a Repr-Digest to what it is about: an error is no form of the file, and who has the file needs none.
type digested struct{ *response }

func (w digested) WriteHeader(status int) {
	if status != http.StatusOK && status != http.StatusPartialContent {
		w.Header().Del("Repr-Digest")
	}
	w.response.WriteHeader(status)
}
