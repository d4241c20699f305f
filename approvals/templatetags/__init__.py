"""What the templates of pages may do with a value."""
