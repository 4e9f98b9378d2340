-- +goose Up
-- modify "agent_commands" table
ALTER TABLE "agent_commands" ADD COLUMN "recall" character varying NULL;
