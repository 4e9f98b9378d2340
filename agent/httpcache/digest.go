package httpcache

import (
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/pureboot/pureboot/agent/cache"
)

// reprDigest is the SHA-256 that Repr-Digest gives of the whole representation (RFC 9530 section 3); zero if it gives
// none that can be read.
func reprDigest(h http.Header) cache.Digest {
	var d cache.Digest
	for m := range members(h["Repr-Digest"]) {
		algorithm, value, _ := strings.Cut(m, "=")
		value, _, _ = strings.Cut(value, ";")
		value = trim(value)
		if algorithm != "sha-256" || len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
			continue
		}
		sum, err := base64.StdEncoding.DecodeString(value[1 : len(value)-1])
		if err == nil && len(sum) == len(d) {
			copy(d[:], sum) // of several the last counts (RFC 8941 section 3.2)
		}
	}
	return d
}
