-- +goose Up
-- create index "node_group_id_home_site_id" to table: "nodes"
CREATE INDEX "node_group_id_home_site_id" ON "nodes" ("group_id", "home_site_id");
