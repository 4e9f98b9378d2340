-- +goose Up
-- What central told the site to do, and how far it is.
CREATE TABLE journal (
    place INTEGER PRIMARY KEY AUTOINCREMENT, -- the order in which they came
    id    TEXT NOT NULL UNIQUE,
    text  BLOB NOT NULL -- JSON
) STRICT;
