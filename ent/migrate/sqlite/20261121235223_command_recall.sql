-- +goose Up
-- add column "recall" to table: "agent_commands"
ALTER TABLE `agent_commands` ADD COLUMN `recall` text NULL;
