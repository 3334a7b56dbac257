"""The undo window: what was deleted, replaced or cut off, kept for a while on the leg that followed."""
