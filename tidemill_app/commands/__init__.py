"""The commands, one file for each group; `tidemill_app.__main__` lists them in one table."""
