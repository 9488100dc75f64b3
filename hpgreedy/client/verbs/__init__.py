"""What each verb does; one module a noun, imported only when its verb runs."""
