package wire

import (
	"fmt"
	"time"
)

// Refusal is an answer of central that is not a success. Only a status of 404 or 410 says that something does not
// exist; 401, 403, 429 and 5xx say nothing about it.
type Refusal struct {
	Status     int
	Problem    Problem
	RetryAfter time.Duration // zero when central named none
}

func (r *Refusal) Error() string {
	if r.Problem.Detail == "" {
		return fmt.Sprintf("central answered %d", r.Status)
	}
	return fmt.Sprintf("central answered %d: %s", r.Status, r.Problem.Detail)
}

// Gone says whether central knows that what was asked for does not exist.
func (r *Refusal) Gone() bool { return r.Status == 404 || r.Status == 410 }

// Final says whether asking the same again would be answered the same: central understood the request and said no.
func (r *Refusal) Final() bool {
	switch r.Status {
	case 401, 403, 408, 425, 429:
		return false
	}
	return r.Status >= 400 && r.Status < 500
}
