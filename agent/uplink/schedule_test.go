package uplink

import (
	"strings"
	"testing"
	"time"
)

func TestWhenAScheduleIsDue(t *testing.T) {
	after := time.Date(2026, 3, 4, 2, 0, 0, 0, time.UTC) // a Wednesday
	for _, tt := range []struct{ text, want string }{
		{"0 2 * * *", "2026-03-05 02:00"},
		{"*/15 * * * *", "2026-03-04 02:15"},
		{"0 2 1 * *", "2026-04-01 02:00"},
		{"0 2 * * 0", "2026-03-08 02:00"},
		{"0 2 20 * fri", "2026-03-06 02:00"}, // either day will do
		{"0 2 30 2 *", "never"},
		{"", "never"},
	} {
		s, err := ParseSchedule(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		got := "never"
		if at := s.Next(after); !at.IsZero() {
			got = at.Format("2006-01-02 15:04")
		}
		if got != tt.want {
			t.Errorf("%q is due at %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestWhatIsNoSchedule(t *testing.T) {
	for _, text := range []string{"daily", "@daily", "0 2 * *", "0 2 * * * *", "60 2 * * *", "0 24 * * *", "CRON_TZ=no 0 2 * * *", strings.Repeat("0,", 200) + "0 2 * * *"} {
		if s, err := ParseSchedule(text); err == nil {
			t.Errorf("%q is taken: %+v", text, s)
		}
	}
}
