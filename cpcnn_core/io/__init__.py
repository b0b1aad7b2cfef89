"""Everything that is read and written: images, tables, projects, cells, profiles."""
