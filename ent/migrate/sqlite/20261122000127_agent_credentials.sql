-- +goose Up
-- disable the enforcement of foreign-keys constraints
PRAGMA foreign_keys = off;
-- create "new_agents" table
CREATE TABLE `new_agents` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `credential_hash` text NOT NULL, `join_token_hash` text NOT NULL, `enrolled_at` datetime NOT NULL, `hostname` text NOT NULL DEFAULT (''), `agent_version` text NOT NULL DEFAULT (''), `protocol_version` integer NOT NULL DEFAULT (0), `capabilities` json NOT NULL, `boot_id` text NOT NULL DEFAULT (''), `seq` integer NOT NULL DEFAULT (0), `heartbeat` blob NULL, `last_heartbeat_at` datetime NULL, `heartbeat_interval` integer NOT NULL DEFAULT (0), `status` text NOT NULL DEFAULT (''), `next_credential_hash` text NOT NULL DEFAULT (''), `rotation` text NOT NULL DEFAULT (''), `rotation_asked_at` datetime NULL, `revoked_at` datetime NULL, `boots` blob NULL, `kept_boot_id` text NOT NULL DEFAULT (''), `fenced_at` datetime NULL, `certificate_hash` text NOT NULL DEFAULT (''), `next_certificate_hash` text NOT NULL DEFAULT (''), `certificate_expires_at` datetime NULL, `site_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `agents_device_groups_agent` FOREIGN KEY (`site_id`) REFERENCES `device_groups` (`id`) ON DELETE CASCADE);
-- copy rows from old table "agents" to new temporary table "new_agents"
INSERT INTO `new_agents` (`id`, `created_at`, `updated_at`, `credential_hash`, `join_token_hash`, `enrolled_at`, `hostname`, `agent_version`, `protocol_version`, `capabilities`, `boot_id`, `seq`, `heartbeat`, `last_heartbeat_at`, `heartbeat_interval`, `status`, `site_id`) SELECT `id`, `created_at`, `updated_at`, `credential_hash`, `join_token_hash`, `enrolled_at`, `hostname`, `agent_version`, `protocol_version`, `capabilities`, `boot_id`, `seq`, `heartbeat`, `last_heartbeat_at`, `heartbeat_interval`, `status`, `site_id` FROM `agents`;
-- drop "agents" table after copying rows
DROP TABLE `agents`;
-- rename temporary table "new_agents" to "agents"
ALTER TABLE `new_agents` RENAME TO `agents`;
-- create index "agents_site_id_key" to table: "agents"
CREATE UNIQUE INDEX `agents_site_id_key` ON `agents` (`site_id`);
-- enable back the enforcement of foreign-keys constraints
PRAGMA foreign_keys = on;
