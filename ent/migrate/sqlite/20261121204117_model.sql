-- +goose Up
-- disable the enforcement of foreign-keys constraints
PRAGMA foreign_keys = off;
-- create "new_admin_tokens" table
CREATE TABLE `new_admin_tokens` (`id` text NOT NULL, `name` text NOT NULL, `role` text NOT NULL, `secret_hash` text NOT NULL, `created_by` text NOT NULL DEFAULT (''), `created_at` datetime NOT NULL, `expires_at` datetime NULL, `revoked_at` datetime NULL, `last_used_at` datetime NULL, PRIMARY KEY (`id`));
-- copy rows from old table "admin_tokens" to new temporary table "new_admin_tokens"
INSERT INTO `new_admin_tokens` (`id`, `name`, `role`, `secret_hash`, `created_at`, `expires_at`, `revoked_at`, `last_used_at`) SELECT `id`, `name`, `role`, `secret_hash`, `created_at`, `expires_at`, `revoked_at`, `last_used_at` FROM `admin_tokens`;
-- drop "admin_tokens" table after copying rows
DROP TABLE `admin_tokens`;
-- rename temporary table "new_admin_tokens" to "admin_tokens"
ALTER TABLE `new_admin_tokens` RENAME TO `admin_tokens`;
-- drop index "auditentry_subject" from table: "audit_entries"
DROP INDEX `auditentry_subject`;
-- create index "auditentry_subject_id" to table: "audit_entries"
CREATE INDEX `auditentry_subject_id` ON `audit_entries` (`subject`, `id`);
-- create index "auditentry_who_id" to table: "audit_entries"
CREATE INDEX `auditentry_who_id` ON `audit_entries` (`who`, `id`);
-- create index "auditentry_action_id" to table: "audit_entries"
CREATE INDEX `auditentry_action_id` ON `audit_entries` (`action`, `id`);
-- create "new_blobs" table
CREATE TABLE `new_blobs` (`id` uuid NOT NULL, `sha256` text NOT NULL, `size` integer NOT NULL, `chunks` blob NOT NULL, `created_at` datetime NOT NULL, `used_at` datetime NOT NULL, PRIMARY KEY (`id`));
-- copy rows from old table "blobs" to new temporary table "new_blobs"
INSERT INTO `new_blobs` (`id`, `sha256`, `size`, `chunks`, `created_at`, `used_at`) SELECT `id`, `sha256`, `size`, `chunks`, `created_at`, `created_at` FROM `blobs`;
-- drop "blobs" table after copying rows
DROP TABLE `blobs`;
-- rename temporary table "new_blobs" to "blobs"
ALTER TABLE `new_blobs` RENAME TO `blobs`;
-- create index "blobs_sha256_key" to table: "blobs"
CREATE UNIQUE INDEX `blobs_sha256_key` ON `blobs` (`sha256`);
-- create index "blob_used_at" to table: "blobs"
CREATE INDEX `blob_used_at` ON `blobs` (`used_at`);
-- add column "previous_modified" to table: "contents"
ALTER TABLE `contents` ADD COLUMN `previous_modified` datetime NULL;
-- create index "content_blob_id" to table: "contents"
CREATE INDEX `content_blob_id` ON `contents` (`blob_id`);
-- create index "content_previous_blob_id" to table: "contents"
CREATE INDEX `content_previous_blob_id` ON `contents` (`previous_blob_id`);
-- create "new_counters" table
CREATE TABLE `new_counters` (`id` text NOT NULL, `stream` text NOT NULL, `origin` text NOT NULL DEFAULT (''), `value` integer NOT NULL DEFAULT (0), PRIMARY KEY (`id`));
-- copy rows from old table "counters" to new temporary table "new_counters"
INSERT INTO `new_counters` (`id`, `stream`, `value`) SELECT `id`, `stream`, `value` FROM `counters`;
-- drop "counters" table after copying rows
DROP TABLE `counters`;
-- rename temporary table "new_counters" to "counters"
ALTER TABLE `new_counters` RENAME TO `counters`;
-- create "new_nodes" table
CREATE TABLE `new_nodes` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `mac_address` text NOT NULL, `hostname` text NOT NULL DEFAULT (''), `ip_address` text NOT NULL DEFAULT (''), `state` text NOT NULL DEFAULT ('discovered'), `arch` text NULL, `boot_mode` text NULL, `vendor` text NOT NULL DEFAULT (''), `model` text NOT NULL DEFAULT (''), `serial_number` text NOT NULL DEFAULT (''), `system_uuid` text NULL, `params` json NOT NULL, `extra_cmdline` text NOT NULL DEFAULT (''), `next_boot` text NOT NULL DEFAULT (''), `tags` json NOT NULL, `install_seq` integer NOT NULL DEFAULT (0), `install_attempts` integer NOT NULL DEFAULT (0), `install_started_at` datetime NULL, `install_workflow_id` uuid NULL, `install_revision` integer NOT NULL DEFAULT (0), `last_install_error` text NOT NULL DEFAULT (''), `state_changed_at` datetime NOT NULL, `last_seen_at` datetime NULL, `version` integer NOT NULL DEFAULT (1), `epoch` integer NOT NULL DEFAULT (0), `group_id` uuid NULL, `home_site_id` uuid NULL, `workflow_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `nodes_device_groups_nodes` FOREIGN KEY (`group_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `nodes_device_groups_home_nodes` FOREIGN KEY (`home_site_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `nodes_workflows_nodes` FOREIGN KEY (`workflow_id`) REFERENCES `workflows` (`id`) ON DELETE SET NULL);
-- copy rows from old table "nodes" to new temporary table "new_nodes"
INSERT INTO `new_nodes` (`id`, `created_at`, `updated_at`, `mac_address`, `hostname`, `ip_address`, `state`, `arch`, `boot_mode`, `vendor`, `model`, `serial_number`, `system_uuid`, `params`, `extra_cmdline`, `tags`, `install_seq`, `install_attempts`, `install_started_at`, `last_install_error`, `state_changed_at`, `last_seen_at`, `version`, `epoch`, `group_id`, `home_site_id`, `workflow_id`) SELECT `id`, `created_at`, `updated_at`, `mac_address`, `hostname`, `ip_address`, `state`, `arch`, `boot_mode`, `vendor`, `model`, `serial_number`, `system_uuid`, `params`, `extra_cmdline`, `tags`, `install_seq`, `install_attempts`, `install_started_at`, `last_install_error`, `state_changed_at`, `last_seen_at`, `version`, `epoch`, `group_id`, `home_site_id`, `workflow_id` FROM `nodes`;
-- drop "nodes" table after copying rows
DROP TABLE `nodes`;
-- rename temporary table "new_nodes" to "nodes"
ALTER TABLE `new_nodes` RENAME TO `nodes`;
-- create index "nodes_mac_address_key" to table: "nodes"
CREATE UNIQUE INDEX `nodes_mac_address_key` ON `nodes` (`mac_address`);
-- create index "node_state_mac_address" to table: "nodes"
CREATE INDEX `node_state_mac_address` ON `nodes` (`state`, `mac_address`);
-- create index "node_group_id_mac_address" to table: "nodes"
CREATE INDEX `node_group_id_mac_address` ON `nodes` (`group_id`, `mac_address`);
-- create index "node_home_site_id_mac_address" to table: "nodes"
CREATE INDEX `node_home_site_id_mac_address` ON `nodes` (`home_site_id`, `mac_address`);
-- create index "node_home_site_id_epoch" to table: "nodes"
CREATE INDEX `node_home_site_id_epoch` ON `nodes` (`home_site_id`, `epoch`);
-- create index "node_workflow_id" to table: "nodes"
CREATE INDEX `node_workflow_id` ON `nodes` (`workflow_id`);
-- create index "node_system_uuid" to table: "nodes"
CREATE INDEX `node_system_uuid` ON `nodes` (`system_uuid`);
-- create index "node_serial_number" to table: "nodes"
CREATE INDEX `node_serial_number` ON `nodes` (`serial_number`);
-- create index "node_hostname_id" to table: "nodes"
CREATE INDEX `node_hostname_id` ON `nodes` (`hostname`, `id`);
-- create index "node_created_at_id" to table: "nodes"
CREATE INDEX `node_created_at_id` ON `nodes` (`created_at`, `id`);
-- create index "node_last_seen_at_id" to table: "nodes"
CREATE INDEX `node_last_seen_at_id` ON `nodes` (`last_seen_at`, `id`);
-- create "new_node_state_logs" table
CREATE TABLE `new_node_state_logs` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `from_state` text NOT NULL, `to_state` text NOT NULL, `by` text NOT NULL, `comment` text NOT NULL DEFAULT (''), `workflow_id` uuid NULL, `workflow_revision` integer NOT NULL DEFAULT (0), `at` datetime NOT NULL, `node_id` uuid NOT NULL, CONSTRAINT `node_state_logs_nodes_state_log` FOREIGN KEY (`node_id`) REFERENCES `nodes` (`id`) ON DELETE CASCADE);
-- copy rows from old table "node_state_logs" to new temporary table "new_node_state_logs"
INSERT INTO `new_node_state_logs` (`id`, `from_state`, `to_state`, `by`, `comment`, `at`, `node_id`) SELECT `id`, `from_state`, `to_state`, `by`, `comment`, `at`, `node_id` FROM `node_state_logs`;
-- drop "node_state_logs" table after copying rows
DROP TABLE `node_state_logs`;
-- rename temporary table "new_node_state_logs" to "node_state_logs"
ALTER TABLE `new_node_state_logs` RENAME TO `node_state_logs`;
-- create index "nodestatelog_node_id_id" to table: "node_state_logs"
CREATE INDEX `nodestatelog_node_id_id` ON `node_state_logs` (`node_id`, `id`);
-- create "new_device_groups" table
CREATE TABLE `new_device_groups` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `name` text NOT NULL, `description` text NOT NULL DEFAULT (''), `path` text NOT NULL, `depth` integer NOT NULL DEFAULT (0), `is_site` bool NOT NULL DEFAULT (false), `params` json NOT NULL, `version` integer NOT NULL DEFAULT (1), `auto_provision` bool NULL, `agent_url` text NULL, `agent_token_id` text NULL, `agent_token_hash` text NULL, `agent_token_expires_at` datetime NULL, `nodes_left_epoch` integer NOT NULL DEFAULT (0), `autonomy_level` text NULL, `conflict_resolution` text NULL, `cache_policy` text NULL, `cache_patterns` json NULL, `cache_max_size_gb` integer NULL, `cache_retention_days` integer NULL, `discovery_method` text NULL, `discovery_config` json NULL, `migration_policy` text NULL, `sync_schedule` text NULL, `sync_max_mb_per_s` integer NULL, `heartbeat_seconds` integer NULL, `parent_id` uuid NULL, `default_workflow_id` uuid NULL, PRIMARY KEY (`id`), CONSTRAINT `device_groups_device_groups_children` FOREIGN KEY (`parent_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `device_groups_workflows_default_of` FOREIGN KEY (`default_workflow_id`) REFERENCES `workflows` (`id`) ON DELETE SET NULL);
-- copy rows from old table "device_groups" to new temporary table "new_device_groups"
INSERT INTO `new_device_groups` (`id`, `created_at`, `updated_at`, `name`, `description`, `path`, `depth`, `is_site`, `params`, `version`, `auto_provision`, `agent_url`, `agent_token_id`, `agent_token_hash`, `agent_token_expires_at`, `nodes_left_epoch`, `autonomy_level`, `conflict_resolution`, `cache_policy`, `cache_patterns`, `cache_max_size_gb`, `cache_retention_days`, `discovery_method`, `discovery_config`, `migration_policy`, `sync_schedule`, `sync_max_mb_per_s`, `heartbeat_seconds`, `parent_id`, `default_workflow_id`) SELECT `id`, `created_at`, `updated_at`, `name`, `description`, `path`, `depth`, `is_site`, `params`, `version`, `auto_provision`, `agent_url`, `agent_token_id`, `agent_token_hash`, `agent_token_expires_at`, `nodes_left_epoch`, `autonomy_level`, `conflict_resolution`, `cache_policy`, `cache_patterns`, `cache_max_size_gb`, `cache_retention_days`, `discovery_method`, `discovery_config`, `migration_policy`, `sync_schedule`, `sync_max_mb_per_s`, `heartbeat_seconds`, `parent_id`, `default_workflow_id` FROM `device_groups`;
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
-- create index "devicegroup_default_workflow_id" to table: "device_groups"
CREATE INDEX `devicegroup_default_workflow_id` ON `device_groups` (`default_workflow_id`);
-- create index "devicegroup_agent_token_id" to table: "device_groups"
CREATE INDEX `devicegroup_agent_token_id` ON `device_groups` (`agent_token_id`);
-- create "agent_commands" table
CREATE TABLE `agent_commands` (`id` uuid NOT NULL, `seq` integer NOT NULL, `command` text NOT NULL, `params` blob NOT NULL, `state` text NOT NULL DEFAULT ('queued'), `result` text NOT NULL DEFAULT (''), `once` bool NOT NULL DEFAULT (false), `ttl_seconds` integer NOT NULL, `created_by` text NOT NULL, `created_at` datetime NOT NULL, `expires_at` datetime NOT NULL, `sent_at` datetime NULL, `started_at` datetime NULL, `finished_at` datetime NULL, `site_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `agent_commands_device_groups_commands` FOREIGN KEY (`site_id`) REFERENCES `device_groups` (`id`) ON DELETE CASCADE);
-- create index "agentcommand_site_id_seq" to table: "agent_commands"
CREATE UNIQUE INDEX `agentcommand_site_id_seq` ON `agent_commands` (`site_id`, `seq`);
-- create index "agentcommand_site_id_state" to table: "agent_commands"
CREATE INDEX `agentcommand_site_id_state` ON `agent_commands` (`site_id`, `state`);
-- create index "agentcommand_state_expires_at" to table: "agent_commands"
CREATE INDEX `agentcommand_state_expires_at` ON `agent_commands` (`state`, `expires_at`);
-- create "approvals" table
CREATE TABLE `approvals` (`id` uuid NOT NULL, `action` text NOT NULL, `subject` text NOT NULL, `requested_by` text NOT NULL, `status` text NOT NULL DEFAULT ('pending'), `decided_by` text NOT NULL DEFAULT (''), `decided_at` datetime NULL, `comment` text NOT NULL DEFAULT (''), `created_at` datetime NOT NULL, `expires_at` datetime NOT NULL, PRIMARY KEY (`id`));
-- create index "approval_status_id" to table: "approvals"
CREATE INDEX `approval_status_id` ON `approvals` (`status`, `id`);
-- create index "approval_status_expires_at" to table: "approvals"
CREATE INDEX `approval_status_expires_at` ON `approvals` (`status`, `expires_at`);
-- create index "approval_subject_id" to table: "approvals"
CREATE INDEX `approval_subject_id` ON `approvals` (`subject`, `id`);
-- create "idempotency_keys" table
CREATE TABLE `idempotency_keys` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `principal` text NOT NULL, `key` text NOT NULL, `route` text NOT NULL, `request_hash` text NOT NULL, `status` integer NOT NULL DEFAULT (0), `header` json NOT NULL, `body` blob NULL, `created_at` datetime NOT NULL, `expires_at` datetime NOT NULL);
-- create index "idempotencykey_principal_key" to table: "idempotency_keys"
CREATE UNIQUE INDEX `idempotencykey_principal_key` ON `idempotency_keys` (`principal`, `key`);
-- create index "idempotencykey_expires_at" to table: "idempotency_keys"
CREATE INDEX `idempotencykey_expires_at` ON `idempotency_keys` (`expires_at`);
-- create "migration_claims" table
CREATE TABLE `migration_claims` (`id` uuid NOT NULL, `status` text NOT NULL DEFAULT ('pending'), `auto_approve_eligible` bool NOT NULL DEFAULT (false), `policy_matched` text NOT NULL DEFAULT (''), `created_at` datetime NOT NULL, `resolved_at` datetime NULL, `expires_at` datetime NOT NULL, `approval_id` uuid NULL, `target_site_id` uuid NOT NULL, `source_site_id` uuid NULL, `node_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `migration_claims_approvals_claim` FOREIGN KEY (`approval_id`) REFERENCES `approvals` (`id`) ON DELETE SET NULL, CONSTRAINT `migration_claims_device_groups_claims_to` FOREIGN KEY (`target_site_id`) REFERENCES `device_groups` (`id`) ON DELETE CASCADE, CONSTRAINT `migration_claims_device_groups_claims_from` FOREIGN KEY (`source_site_id`) REFERENCES `device_groups` (`id`) ON DELETE SET NULL, CONSTRAINT `migration_claims_nodes_claims` FOREIGN KEY (`node_id`) REFERENCES `nodes` (`id`) ON DELETE CASCADE);
-- create index "migrationclaim_status_id" to table: "migration_claims"
CREATE INDEX `migrationclaim_status_id` ON `migration_claims` (`status`, `id`);
-- create index "migrationclaim_status_expires_at" to table: "migration_claims"
CREATE INDEX `migrationclaim_status_expires_at` ON `migration_claims` (`status`, `expires_at`);
-- create index "migrationclaim_node_id_id" to table: "migration_claims"
CREATE INDEX `migrationclaim_node_id_id` ON `migration_claims` (`node_id`, `id`);
-- create index "migrationclaim_source_site_id" to table: "migration_claims"
CREATE INDEX `migrationclaim_source_site_id` ON `migration_claims` (`source_site_id`);
-- create index "migrationclaim_target_site_id" to table: "migration_claims"
CREATE INDEX `migrationclaim_target_site_id` ON `migration_claims` (`target_site_id`);
-- create index "migrationclaim_approval_id" to table: "migration_claims"
CREATE INDEX `migrationclaim_approval_id` ON `migration_claims` (`approval_id`);
-- create index "migrationclaim_one_pending" to table: "migration_claims"
CREATE UNIQUE INDEX `migrationclaim_one_pending` ON `migration_claims` (`node_id`) WHERE resolved_at IS NULL;
-- create "node_tags" table
CREATE TABLE `node_tags` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `tag` text NOT NULL, `node_id` uuid NOT NULL, CONSTRAINT `node_tags_nodes_tag_rows` FOREIGN KEY (`node_id`) REFERENCES `nodes` (`id`) ON DELETE CASCADE);
-- create index "nodetag_node_id_tag" to table: "node_tags"
CREATE UNIQUE INDEX `nodetag_node_id_tag` ON `node_tags` (`node_id`, `tag`);
-- create index "nodetag_tag_node_id" to table: "node_tags"
CREATE INDEX `nodetag_tag_node_id` ON `node_tags` (`tag`, `node_id`);
-- create "sync_conflicts" table
CREATE TABLE `sync_conflicts` (`id` uuid NOT NULL, `entity_type` text NOT NULL, `entity_id` uuid NOT NULL, `fields` json NOT NULL, `base_state` blob NULL, `central_state` blob NULL, `site_state` blob NULL, `detected_at` datetime NOT NULL, `resolved_at` datetime NULL, `resolution` text NULL, `merged_state` blob NULL, `resolved_by` text NOT NULL DEFAULT (''), `site_id` uuid NOT NULL, PRIMARY KEY (`id`), CONSTRAINT `sync_conflicts_device_groups_conflicts` FOREIGN KEY (`site_id`) REFERENCES `device_groups` (`id`) ON DELETE CASCADE);
-- create index "syncconflict_site_id_id" to table: "sync_conflicts"
CREATE INDEX `syncconflict_site_id_id` ON `sync_conflicts` (`site_id`, `id`);
-- create index "syncconflict_entity_type_entity_id" to table: "sync_conflicts"
CREATE INDEX `syncconflict_entity_type_entity_id` ON `sync_conflicts` (`entity_type`, `entity_id`);
-- create index "syncconflict_open" to table: "sync_conflicts"
CREATE INDEX `syncconflict_open` ON `sync_conflicts` (`site_id`) WHERE resolved_at IS NULL;
-- create "sync_states" table
CREATE TABLE `sync_states` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `entity_type` text NOT NULL, `entity_id` uuid NOT NULL, `site_id` uuid NOT NULL, `version` integer NOT NULL DEFAULT (1), `last_modified` datetime NOT NULL, `last_modified_by` text NOT NULL DEFAULT ('central'), `checksum` text NOT NULL DEFAULT (''));
-- create index "syncstate_entity_type_entity_id_site_id" to table: "sync_states"
CREATE UNIQUE INDEX `syncstate_entity_type_entity_id_site_id` ON `sync_states` (`entity_type`, `entity_id`, `site_id`);
-- create index "syncstate_site_id_entity_type" to table: "sync_states"
CREATE INDEX `syncstate_site_id_entity_type` ON `sync_states` (`site_id`, `entity_type`);
-- create "upload_sessions" table
CREATE TABLE `upload_sessions` (`id` uuid NOT NULL, `created_at` datetime NOT NULL, `updated_at` datetime NOT NULL, `category` text NOT NULL, `path` text NOT NULL, `sha256` text NOT NULL DEFAULT (''), `size` integer NULL, `offset` integer NOT NULL DEFAULT (0), `created_by` text NOT NULL, `expires_at` datetime NOT NULL, PRIMARY KEY (`id`));
-- create index "uploadsession_expires_at" to table: "upload_sessions"
CREATE INDEX `uploadsession_expires_at` ON `upload_sessions` (`expires_at`);
-- create index "uploadsession_category_path" to table: "upload_sessions"
CREATE INDEX `uploadsession_category_path` ON `upload_sessions` (`category`, `path`);
-- create "workflow_revisions" table
CREATE TABLE `workflow_revisions` (`id` integer NOT NULL PRIMARY KEY AUTOINCREMENT, `revision` integer NOT NULL, `spec` blob NOT NULL, `by` text NOT NULL DEFAULT (''), `at` datetime NOT NULL, `workflow_id` uuid NOT NULL, CONSTRAINT `workflow_revisions_workflows_revisions` FOREIGN KEY (`workflow_id`) REFERENCES `workflows` (`id`) ON DELETE CASCADE);
-- create index "workflowrevision_workflow_id_revision" to table: "workflow_revisions"
CREATE UNIQUE INDEX `workflowrevision_workflow_id_revision` ON `workflow_revisions` (`workflow_id`, `revision`);
-- what the tables that were there say in the new ones
INSERT INTO `node_tags` (`tag`, `node_id`) SELECT DISTINCT t.value, n.id FROM `nodes` n, json_each(n.tags) t WHERE t.value <> '';
INSERT INTO `workflow_revisions` (`revision`, `spec`, `by`, `at`, `workflow_id`) SELECT `revision`, CAST(json_object('name', `name`, 'arch', coalesce(`arch`, ''), 'boot_mode', coalesce(`boot_mode`, ''), 'install_method', `install_method`, 'kernel', `kernel`, 'initrd', json(`initrd`), 'cmdline', `cmdline`, 'boot_url', `boot_url`, 'template', `template`, 'params', json(`params`)) AS BLOB), 'migration', `updated_at`, `id` FROM `workflows`;
INSERT INTO `sync_states` (`entity_type`, `entity_id`, `site_id`, `version`, `last_modified`) SELECT 'node', `id`, coalesce(`home_site_id`, '00000000-0000-0000-0000-000000000000'), `version`, `updated_at` FROM `nodes`;
INSERT INTO `sync_states` (`entity_type`, `entity_id`, `site_id`, `version`, `last_modified`) SELECT 'workflow', `id`, '00000000-0000-0000-0000-000000000000', `revision`, `updated_at` FROM `workflows`;
INSERT INTO `sync_states` (`entity_type`, `entity_id`, `site_id`, `version`, `last_modified`) SELECT 'template', `id`, '00000000-0000-0000-0000-000000000000', 1, `modified` FROM `contents` WHERE `category` = 'templates' AND `blob_id` IS NOT NULL;
-- enable back the enforcement of foreign-keys constraints
PRAGMA foreign_keys = on;
