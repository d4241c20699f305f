"""What the templates of messages may do with a value."""
