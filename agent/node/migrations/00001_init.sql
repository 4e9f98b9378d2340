-- +goose Up
CREATE TABLE nodes (
    id          TEXT    NOT NULL PRIMARY KEY,
    system_uuid TEXT    NOT NULL DEFAULT '',
    boot        BLOB    NOT NULL, -- wire.Boot, JSON
    fetched_at  INTEGER NOT NULL, -- Unix milliseconds of central's answer
    expired     INTEGER NOT NULL DEFAULT 0 -- central said that it has changed since
) STRICT;
CREATE INDEX nodes_system_uuid ON nodes (system_uuid) WHERE system_uuid <> '';

CREATE TABLE macs (
    mac     TEXT NOT NULL PRIMARY KEY,
    node_id TEXT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX macs_node_id ON macs (node_id);

-- What machines reported while central was away, in the order it happened here.
CREATE TABLE outbox (
    op_seq  INTEGER PRIMARY KEY AUTOINCREMENT,
    node_id TEXT    NOT NULL,
    at      INTEGER NOT NULL, -- Unix milliseconds of the report, by the agent's clock
    event   BLOB    NOT NULL -- wire.Event, JSON
) STRICT;
CREATE INDEX outbox_node_id ON outbox (node_id);

CREATE TABLE cursors (
    name  TEXT NOT NULL PRIMARY KEY,
    epoch TEXT NOT NULL
) STRICT;
