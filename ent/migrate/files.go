package migrate

import "embed"

// Files holds the versioned migrations, in a folder for each dialect: sqlite and postgres. They are written by
// `make migration NAME=x` and never change once released.
//
//go:embed sqlite/*.sql postgres/*.sql
var Files embed.FS
