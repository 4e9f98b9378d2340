-- +goose Up
-- create "admin_tokens" table
CREATE TABLE `admin_tokens` (`id` text NOT NULL, `name` text NOT NULL, `role` text NOT NULL, `secret_hash` text NOT NULL, `created_at` datetime NOT NULL, `expires_at` datetime NULL, `revoked_at` datetime NULL, `last_used_at` datetime NULL, PRIMARY KEY (`id`));
-- create "agents" table
CREATE TABLE `agents` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `credential_hash` text NOT NULL, `join_token_hash` text NOT NULL, `enrolled_at` datetime NOT NULL, `hostname` text NOT NULL DEFAULT (''), `agent_version` text NOT NULL DEFAULT (''), `protocol_version` integer NOT NULL DEFAULT (0), `capabilities` json NOT NULL, `boot_id` text NOT NULL DEFAULT (''), `seq` integer NOT NULL DEFAULT (0), `heartbeat` blob NULL, `last_heartbeat_at` datetime NULL, `site_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `agents_device_groups_agent` FOREIGN KEY (`site_id`) REFERENCES `device_groups` (`id`) ON DELETE CASCADE);
-- create index "agents_site_id_key" to table: "agents"
CREATE UNIQUE INDEX `agents_site_id_key` ON `agents` (`site_id`);
-- create "audit_entries" table
CREATE TABLE `audit_entries` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `at` datetime NOT NULL, `who` text NOT NULL, `from_address` text NOT NULL DEFAULT (''), `action` text NOT NULL, `subject` text NOT NULL DEFAULT (''), `detail` text NOT NULL DEFAULT (''), `before` blob NULL, `after` blob NULL, `request_id` text NOT NULL DEFAULT (''));
-- create index "auditentry_at" to table: "audit_entries"
CREATE INDEX `auditentry_at` ON `audit_entries` (`at`);
-- create index "auditentry_subject" to table: "audit_entries"
CREATE INDEX `auditentry_subject` ON `audit_entries` (`subject`);
-- create "blobs" table
CREATE TABLE `blobs` (`id` uuid NOT NULL, `sha256` text NOT NULL, `size` integer NOT NULL, `chunks` blob NOT NULL, `created_at` datetime NOT NULL, PRIMARY KEY (`id`));
-- create index "blobs_sha256_key" to table: "blobs"
CREATE UNIQUE INDEX `blobs_sha256_key` ON `blobs` (`sha256`);
-- create "contents" table
CREATE TABLE `contents` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `category` text NOT NULL, `path` text NOT NULL, `modified` datetime NOT NULL, `epoch` integer NOT NULL, `blob_id` uuid NULL, `previous_blob_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `contents_blobs_current` FOREIGN KEY (`blob_id`) REFERENCES `blobs` (`id`) ON DELETE SET NULL, CONSTRAINT `contents_blobs_previous` FOREIGN KEY (`previous_blob_id`) REFERENCES `blobs` (`id`) ON DELETE SET NULL);
-- create index "content_category_path" to table: "contents"
CREATE UNIQUE INDEX `content_category_path` ON `contents` (`category`, `path`);
-- create index "content_epoch" to table: "contents"
CREATE INDEX `content_epoch` ON `contents` (`epoch`);
-- create "counters" table
CREATE TABLE `counters` (`id` text NOT NULL, `stream` text NOT NULL, `value` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- create "device_groups" table
CREATE TABLE `device_groups` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `description` text NOT NULL DEFAULT (''), `path` text NOT NULL, `depth` integer NOT NULL DEFAULT (0), `is_site` bool NOT NULL DEFAULT (false), `params` json NOT NULL, `version` integer NOT NULL DEFAULT (1), `auto_provision` bool NULL, `agent_url` text NULL, `agent_token_id` text NULL, `agent_token_hash` text NULL, `agent_token_expires_at` datetime NULL, `agent_status` text NULL, `agent_last_seen` datetime NULL, `autonomy_level` text NULL, `conflict_resolution` text NULL, `cache_policy` text NULL, `cache_patterns` json NULL, `cache_max_size_gb` integer NULL, `cache_retention_days` integer NULL, `discovery_method` text NULL, `discovery_config` json NULL, `migration_policy` text NULL, `sync_schedule` text NULL, `sync_max_mb_per_s` integer NULL, `heartbeat_seconds` integer NULL, `parent_id` uuid NULL, `default_workflow_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `device_groups_device_groups_children` FOREIGN KEY (`parent_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `device_groups_workflows_default_of` FOREIGN KEY (`default_workflow_id`) REFERENCES `workflows` (`id`) ON DELETE SET NULL);
-- create index "device_groups_name_key" to table: "device_groups"
CREATE UNIQUE INDEX `device_groups_name_key` ON `device_groups` (`name`);
-- create index "devicegroup_parent_id" to table: "device_groups"
CREATE INDEX `devicegroup_parent_id` ON `device_groups` (`parent_id`);
-- create index "devicegroup_is_site_name" to table: "device_groups"
CREATE INDEX `devicegroup_is_site_name` ON `device_groups` (`is_site`, `name`);
-- create index "devicegroup_path" to table: "device_groups"
CREATE INDEX `devicegroup_path` ON `device_groups` (`path`);
-- create "nodes" table
CREATE TABLE `nodes` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `mac_address` text NOT NULL, `hostname` text NOT NULL DEFAULT (''), `ip_address` text NOT NULL DEFAULT (''), `state` text NOT NULL DEFAULT ('discovered'), `arch` text NULL, `boot_mode` text NULL, `vendor` text NOT NULL DEFAULT (''), `model` text NOT NULL DEFAULT (''), `serial_number` text NOT NULL DEFAULT (''), `system_uuid` text NULL, `params` json NOT NULL, `extra_cmdline` text NOT NULL DEFAULT (''), `tags` json NOT NULL, `install_seq` integer NOT NULL DEFAULT (0), `install_attempts` integer NOT NULL DEFAULT (0), `install_started_at` datetime NULL, `last_install_error` text NOT NULL DEFAULT (''), `state_changed_at` datetime NOT NULL, `last_seen_at` datetime NULL, `version` integer NOT NULL DEFAULT (1), `epoch` integer NOT NULL DEFAULT (0), `group_id` uuid NULL, `home_site_id` uuid NULL, `workflow_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `nodes_device_groups_nodes` FOREIGN KEY (`group_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `nodes_device_groups_home_nodes` FOREIGN KEY (`home_site_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `nodes_workflows_nodes` FOREIGN KEY (`workflow_id`) REFERENCES `workflows` (`id`) ON DELETE SET NULL);
-- create index "nodes_mac_address_key" to table: "nodes"
CREATE UNIQUE INDEX `nodes_mac_address_key` ON `nodes` (`mac_address`);
-- create index "node_state" to table: "nodes"
CREATE INDEX `node_state` ON `nodes` (`state`);
-- create index "node_group_id" to table: "nodes"
CREATE INDEX `node_group_id` ON `nodes` (`group_id`);
-- create index "node_workflow_id" to table: "nodes"
CREATE INDEX `node_workflow_id` ON `nodes` (`workflow_id`);
-- create index "node_system_uuid" to table: "nodes"
CREATE INDEX `node_system_uuid` ON `nodes` (`system_uuid`);
-- create index "node_home_site_id_epoch" to table: "nodes"
CREATE INDEX `node_home_site_id_epoch` ON `nodes` (`home_site_id`, `epoch`);
-- create "node_events" table
CREATE TABLE `node_events` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `event_id` text NOT NULL, `event_type` text NOT NULL, `status` text NOT NULL DEFAULT ('success'), `progress` integer NOT NULL DEFAULT (0), `message` text NOT NULL DEFAULT (''), `metadata` blob NULL, `at` datetime NOT NULL, `node_id` uuid NOT NULL, CONSTRAINT `node_events_nodes_events` FOREIGN KEY (`node_id`) REFERENCES `nodes` (`id`) ON DELETE CASCADE);
-- create index "nodeevent_node_id_event_id" to table: "node_events"
CREATE UNIQUE INDEX `nodeevent_node_id_event_id` ON `node_events` (`node_id`, `event_id`);
-- create index "nodeevent_node_id_id" to table: "node_events"
CREATE INDEX `nodeevent_node_id_id` ON `node_events` (`node_id`, `id`);
-- create "node_interfaces" table
CREATE TABLE `node_interfaces` (`id` uuid NOT NULL, `mac_address` text NOT NULL, `name` text NOT NULL DEFAULT (''), `position` integer NOT NULL DEFAULT (0), `node_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `node_interfaces_nodes_interfaces` FOREIGN KEY (`node_id`) REFERENCES `nodes` (`id`) ON DELETE CASCADE);
-- create index "node_interfaces_mac_address_key" to table: "node_interfaces"
CREATE UNIQUE INDEX `node_interfaces_mac_address_key` ON `node_interfaces` (`mac_address`);
-- create index "nodeinterface_node_id_position" to table: "node_interfaces"
CREATE INDEX `nodeinterface_node_id_position` ON `node_interfaces` (`node_id`, `position`);
-- create "node_state_logs" table
CREATE TABLE `node_state_logs` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `from_state` text NOT NULL, `to_state` text NOT NULL, `by` text NOT NULL, `comment` text NOT NULL DEFAULT (''), `at` datetime NOT NULL, `node_id` uuid NOT NULL, CONSTRAINT `node_state_logs_nodes_state_log` FOREIGN KEY (`node_id`) REFERENCES `nodes` (`id`) ON DELETE CASCADE);
-- create index "nodestatelog_node_id_id" to table: "node_state_logs"
CREATE INDEX `nodestatelog_node_id_id` ON `node_state_logs` (`node_id`, `id`);
-- create "workflows" table
CREATE TABLE `workflows` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `arch` text NULL, `boot_mode` text NULL, `install_method` text NOT NULL, `kernel` text NOT NULL DEFAULT (''), `initrd` json NOT NULL, `cmdline` text NOT NULL DEFAULT (''), `boot_url` text NOT NULL DEFAULT (''), `template` text NOT NULL DEFAULT (''), `params` json NOT NULL, `revision` integer NOT NULL DEFAULT (1), PRIMARY KEY (`id`));
-- create index "workflows_name_key" to table: "workflows"
CREATE UNIQUE INDEX `workflows_name_key` ON `workflows` (`name`);
-- create "device_group_assigned_content" table
CREATE TABLE `device_group_assigned_content` (`device_group_id` uuid NOT NULL, `content_id` uuid NOT NULL, PRIMARY KEY (`device_group_id`, `content_id`), CONSTRAINT `device_group_assigned_content_device_group_id` FOREIGN KEY (`device_group_id`) REFERENCES `device_groups` (`id`) ON DELETE CASCADE, CONSTRAINT `device_group_assigned_content_content_id` FOREIGN KEY (`content_id`) REFERENCES `contents` (`id`) ON DELETE CASCADE);
