package agent

import (
	"runtime/debug"
	"strconv"
	"time"
)

// built is set by the linker where the program is not built from a repository: seconds since 1970.
var built string

// Built returns when the program was built, or rather when what it was built from was written; zero if nobody knows.
func Built() time.Time {
	if seconds, err := strconv.ParseInt(built, 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, setting := range info.Settings {
		if at, err := time.Parse(time.RFC3339, setting.Value); err == nil && setting.Key == "vcs.time" {
			return at
		}
	}
	return time.Time{}
}
