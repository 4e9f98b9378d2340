-- +goose Up
-- modify "device_groups" table
ALTER TABLE "device_groups" ADD COLUMN "nodes_left_epoch" bigint NOT NULL DEFAULT 0;
