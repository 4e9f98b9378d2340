-- +goose Up
-- disable the enforcement of foreign-keys constraints
PRAGMA foreign_keys = off;
-- create "new_device_groups" table
CREATE TABLE `new_device_groups` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `description` text NOT NULL DEFAULT (''), `path` text NOT NULL, `depth` integer NOT NULL DEFAULT (0), `is_site` bool NOT NULL DEFAULT (false), `params` json NOT NULL, `version` integer NOT NULL DEFAULT (1), `auto_provision` bool NULL, `agent_url` text NULL, `agent_token_id` text NULL, `agent_token_hash` text NULL, `agent_token_expires_at` datetime NULL, `agent_status` text NULL, `agent_last_seen` datetime NULL, `nodes_left_epoch` integer NOT NULL DEFAULT (0), `autonomy_level` text NULL, `conflict_resolution` text NULL, `cache_policy` text NULL, `cache_patterns` json NULL, `cache_max_size_gb` integer NULL, `cache_retention_days` integer NULL, `discovery_method` text NULL, `discovery_config` json NULL, `migration_policy` text NULL, `sync_schedule` text NULL, `sync_max_mb_per_s` integer NULL, `heartbeat_seconds` integer NULL, `parent_id` uuid NULL, `default_workflow_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `device_groups_device_groups_children` FOREIGN KEY (`parent_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `device_groups_workflows_default_of` FOREIGN KEY (`default_workflow_id`) REFERENCES `workflows` (`id`) ON DELETE SET NULL);
-- copy rows from old table "device_groups" to new temporary table "new_device_groups"
INSERT INTO `new_device_groups` (`id`, `created_at`, `updated_at`, `name`, `description`, `path`, `depth`, `is_site`, `params`, `version`, `auto_provision`, `agent_url`, `agent_token_id`, `agent_token_hash`, `agent_token_expires_at`, `agent_status`, `agent_last_seen`, `autonomy_level`, `conflict_resolution`, `cache_policy`, `cache_patterns`, `cache_max_size_gb`, `cache_retention_days`, `discovery_method`, `discovery_config`, `migration_policy`, `sync_schedule`, `sync_max_mb_per_s`, `heartbeat_seconds`, `parent_id`, `default_workflow_id`) SELECT `id`, `created_at`, `updated_at`, `name`, `description`, `path`, `depth`, `is_site`, `params`, `version`, `auto_provision`, `agent_url`, `agent_token_id`, `agent_token_hash`, `agent_token_expires_at`, `agent_status`, `agent_last_seen`, `autonomy_level`, `conflict_resolution`, `cache_policy`, `cache_patterns`, `cache_max_size_gb`, `cache_retention_days`, `discovery_method`, `discovery_config`, `migration_policy`, `sync_schedule`, `sync_max_mb_per_s`, `heartbeat_seconds`, `parent_id`, `default_workflow_id` FROM `device_groups`;
-- drop "device_groups" table after copying rows
DROP TABLE `device_groups`;
-- rename temporary table "new_device_groups" to "device_groups"
ALTER TABLE `new_device_groups` RENAME TO `device_groups`;
-- create index "device_groups_name_key" to table: "device_groups"
CREATE UNIQUE INDEX `device_groups_name_key` ON `device_groups` (`name`);
-- create index "devicegroup_parent_id" to table: "device_groups"
CREATE INDEX `devicegroup_parent_id` ON `device_groups` (`parent_id`);
-- create index "devicegroup_is_site_name" to table: "device_groups"
CREATE INDEX `devicegroup_is_site_name` ON `device_groups` (`is_site`, `name`);
-- create index "devicegroup_path" to table: "device_groups"
CREATE INDEX `devicegroup_path` ON `device_groups` (`path`);
-- enable back the enforcement of foreign-keys constraints
PRAGMA foreign_keys = on;
