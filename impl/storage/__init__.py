"""What a node keeps on its disk: registers in SQLite, parts in files, the layout that holds both."""
