"""Why a decision fell as it did, with numbers, and what would change it."""
