package gateway

import (
	"net/http"
	"strconv"
	"time"

	"github.com/pureboot/pureboot/agent/cache"
	"github.com/pureboot/pureboot/agent/content"
	"github.com/pureboot/pureboot/agent/node"
)

// cacheName is how this cache is called in Cache-Status.
const cacheName = "PureBoot"

// setCacheStatus writes the Cache-Status header (RFC 9211) of this cache. Without parameters it says that the answer
// was made here, by asking neither the cache nor central.
func setCacheStatus(w http.ResponseWriter, params string) {
	if params == "" {
		params = "; detail=local"
	}
	w.Header().Set("Cache-Status", cacheName+params)
}

// contentStatus says how a file came to be served.
func contentStatus(status content.Status, tier cache.Tier) string {
	switch status {
	case content.Hit:
		if tier == "" {
			return "; hit"
		}
		return "; hit; detail=" + string(tier)
	case content.Stale:
		return "; hit; detail=stale" // central was asked and did not give the current version
	case content.Collapsed:
		return "; fwd=miss; stored; collapsed"
	case content.Pass:
		return "; fwd=miss"
	}
	return "; fwd=miss; stored"
}

// setRecordStatus says how old the record is that a script was made from.
func setRecordStatus(w http.ResponseWriter, rec node.Record) {
	age := max(time.Since(rec.FetchedAt), 0)
	switch rec.Source {
	case node.Fresh:
		setCacheStatus(w, "; hit; detail=node")
	case node.Stale:
		setCacheStatus(w, "; hit; detail=stale-node")
	default:
		setCacheStatus(w, "; fwd=miss; detail=node")
		return
	}
	w.Header().Set("Age", strconv.Itoa(int(age/time.Second)))
}
