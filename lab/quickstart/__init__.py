"""The main job, shown from nothing to a live-migrated guest: real, or simulated without root."""
