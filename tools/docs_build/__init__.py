"""Build of the documentation: runs the blocks of pages, inserts their outputs and tables, checks links."""
