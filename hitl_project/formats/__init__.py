"""How Django writes what no template formats; it looks for a folder by the language's name."""
