package httpcache

import (
	"net/http"
	"net/url"
	"slices"
)

// Invalidates names the primary keys whose responses are no longer to be used after a request to
// target, the URL at the origin, was answered so (RFC 9111 section 4.4). An unsafe method that did not
// fail invalidates its target, and what Location and Content-Location name if it is of the same
// origin: nobody invalidates what is another's.
func Invalidates(method string, target *url.URL, status int, response http.Header) []string {
	if safe(method) || status < 200 || status > 399 {
		return nil
	}
	keys := []string{PrimaryKey(target)}
	for _, name := range []string{"Location", "Content-Location"} {
		value, ok := single(response, name)
		if !ok {
			continue
		}
		u, err := target.Parse(value)
		if err != nil || !sameOrigin(u, target) {
			continue
		}
		if key := PrimaryKey(u); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// safe is whether a method is registered as safe (RFC 9110 section 9.2.1). Unknown ones are not.
func safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH", "QUERY":
		return true
	}
	return false
}

func sameOrigin(a, b *url.URL) bool {
	aScheme, aHost := origin(a)
	bScheme, bHost := origin(b)
	return aScheme == bScheme && aHost == bHost
}
