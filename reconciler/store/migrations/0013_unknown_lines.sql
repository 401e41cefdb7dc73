-- Lines of the CLI that its harness does not know, and rows of the agent's event log that are no events.
ALTER TABLE turns ADD COLUMN unknown_lines INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN unreadable_rows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turn_days ADD COLUMN unknown_lines INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turn_days ADD COLUMN unreadable_rows INTEGER NOT NULL DEFAULT 0;
