package uplink

import (
	"fmt"
	"math/rand/v2"
	"time"

	cron "github.com/netresearch/go-cron"
)

// Schedule says when something is due.
type Schedule struct{ spec cron.Schedule } // nil: never

// ParseSchedule reads five fields of cron: minute, hour, day of the month, month, day of the week, in local time. If
// both kinds of days are restricted, either will do. An empty text means never.
func ParseSchedule(text string) (Schedule, error) {
	if text == "" {
		return Schedule{}, nil
	}
	if len(text) > maxSchedule {
		return Schedule{}, fmt.Errorf("a schedule has at most %d bytes", maxSchedule)
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	if err != nil {
		return Schedule{}, err
	}
	spec, err := parser.Parse(text)
	if err != nil {
		return Schedule{}, fmt.Errorf("%q is not minute, hour, day, month and weekday as in cron: %w", text, err)
	}
	return Schedule{spec}, nil
}

// maxSchedule bounds the text of a schedule, in bytes.
const maxSchedule = 200

// staggered moves a moment by up to a minute, so that not all sites of a fleet come at once.
func staggered(at time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return at.Add(rand.N(time.Minute))
}

// Next returns when it is due after a moment; the zero time: never.
func (s Schedule) Next(after time.Time) time.Time {
	if s.spec == nil {
		return time.Time{}
	}
	return s.spec.Next(after)
}
