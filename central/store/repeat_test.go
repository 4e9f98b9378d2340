package store

import (
	"testing"
	"time"

	"github.com/pureboot/pureboot/ent"
)

func TestExpiredKeysAreForgotten(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for key, life := range map[string]time.Duration{"old": -time.Second, "new": time.Hour} {
		r := &Repeatable{Principal: "p", Key: key, Route: "POST /", Hash: "0"}
		err := s.Write(WithRepeatable(t.Context(), r), func(tx *ent.Tx) error { return nil })
		if err != nil || !r.Taken() {
			t.Fatal(err, r)
		}
		err = s.Write(t.Context(), func(tx *ent.Tx) error {
			return tx.IdempotencyKey.Update().Where(r.is()).SetExpiresAt(now().Add(life)).Exec(t.Context())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	s.sweep(t.Context(), now())
	rows, err := s.Read().IdempotencyKey.Query().All(t.Context())
	if err != nil || len(rows) != 1 || rows[0].Key != "new" {
		t.Errorf("left: %v, %v", rows, err)
	}
}
